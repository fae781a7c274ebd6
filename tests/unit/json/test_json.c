// SPDX-License-Identifier: Apache-2.0
// JSON text, merge patch with every example of RFC 7396, and changes.
#include <limits.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json/json.h"

static json_t *parse(const char *text) {
    json_t *value = NULL;
    size_t offset = 0;
    if (dbk_json_parse(daybook_text(text), &value, &offset) != DAYBOOK_OK)
        fail_msg("%s: at %zu", text, offset);
    return value;
}

// The compact text of a value; the caller frees it.
static char *print(const json_t *value) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 24);
    dbk_json_write(&out, value);
    dbk_buf_append_u8(&out, '\0');
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    return (char *)out.data;
}

static void check_round_trip(const char *text, const char *expected) {
    json_t *value = parse(text);
    char *printed = print(value);
    assert_string_equal(printed, expected);
    free(printed);
    json_decref(value);
}

static void text_is_compact_and_keeps_the_order_of_members(void **context) {
    (void)context;
    check_round_trip(" { \"b\" : 1 , \"a\" : [ true , false , null ] , \"\" : {} } ",
                     "{\"b\":1,\"a\":[true,false,null],\"\":{}}");
    check_round_trip("[]", "[]");
    check_round_trip("\"a\"", "\"a\"");
}

static void integers_of_64_bits_are_exact(void **context) {
    (void)context;
    check_round_trip("[9223372036854775807,-9223372036854775808,9007199254740993,0]",
                     "[9223372036854775807,-9223372036854775808,9007199254740993,0]");
}

static void integers_beyond_64_bits_become_reals_and_leave_the_others_exact(void **context) {
    (void)context;
    check_round_trip("[9223372036854775808,9007199254740993,-9223372036854775809]",
                     "[9.223372036854776e+18,9007199254740993,-9.223372036854776e+18]");
    // Not inside strings, where digits are text.
    check_round_trip("{\"9223372036854775808\":\"\\\"99999999999999999999\\\\\",\"n\":99999999999999999999}",
                     "{\"9223372036854775808\":\"\\\"99999999999999999999\\\\\",\"n\":1e+20}");
}

static void reals_have_the_fewest_digits_that_read_back(void **context) {
    (void)context;
    check_round_trip("[59.99,0.1,1.10,100.0,1e2,-0.0,5e-324,1.7976931348623157e308,0.30000000000000004]",
                     "[59.99,0.1,1.1,100.0,100.0,-0.0,4.94065645841247e-324,1.7976931348623157e+308,"
                     "0.30000000000000004]");
}

static void reals_ignore_the_locale(void **context) {
    (void)context;
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL) skip();
    check_round_trip("[59.99,1e-7]", "[59.99,1e-07]");
    setlocale(LC_NUMERIC, "C");
}

static void strings_are_escaped_where_json_demands_it_and_nowhere_else(void **context) {
    (void)context;
    check_round_trip("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u00fc\\ud83d\\ude00\"",
                     "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\xc3\xbc\xf0\x9f\x98\x80\"");
    check_round_trip("\"a\\u0000b\"", "\"a\\u0000b\"");
}

static void check_go_string(const char *text, size_t size, const char *expected) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1024);
    dbk_json_write_go_string(&out, daybook_bytes(text, size));
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    if (out.size != strlen(expected) || memcmp(out.data, expected, out.size) != 0)
        fail_msg("want %s, have %.*s", expected, (int)out.size, (const char *)out.data);
    dbk_buf_deinit(&out);
}

static void strings_for_clients_of_nats_are_escaped_as_go_does(void **state) {
    (void)state;
    check_go_string("", 0, "\"\"");
    check_go_string("plain", 5, "\"plain\"");
    check_go_string("a\"b\\c\n\r\t\0\x01\x7f", 11, "\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u0001\x7f\"");
    check_go_string("orders.>", 8, "\"orders.\\u003e\"");
    check_go_string("<&>", 3, "\"\\u003c\\u0026\\u003e\"");
    check_go_string("\xc3\xbc\xf0\x9f\x98\x80", 6, "\"\xc3\xbc\xf0\x9f\x98\x80\"");
    check_go_string("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xa7\xe2\x80\xaa", 12,
                    "\"\\u2028\\u2029\xe2\x80\xa7\xe2\x80\xaa\"");
    check_go_string("a\xff\xc3z\xed\xa0\x80", 7, "\"a\\ufffd\\ufffdz\\ufffd\\ufffd\\ufffd\"");
    check_go_string("\xc3", 1, "\"\\ufffd\"");
    check_go_string("\b\f", 2, "\"\\u0008\\u000c\"");
}

static void of_duplicate_names_the_last_value_wins(void **context) {
    (void)context;
    check_round_trip("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}");
}

static void what_is_not_json_is_refused_and_the_place_named(void **context) {
    (void)context;
    static const struct {
        const char *text;
        size_t offset;
    } malformed[] = {
        {"", 0},           {"{", 1},
        {"{\"a\":}", 5},   {"[1,]", 3},
        {"nul", 0},        {"{} x", 3},
        {"[1e400]", 1},    {"'a'", 0},
        {"+1", 0},         {"01", 1},
        {"\"\xff\"", 0},   {"{a:1}", 1},
        {"[1e]", 3},       {"\"\\ud800\"", 7},
        {"\"a\nb\"", 2},   {"\"\\x\"", 2},
        {"[1 2]", 3},      {"{\"a\" 1}", 5},
        {"-", 1},          {"1.", 2},
        {".5", 0},         {"\"\\u12g4\"", 5},
        {"[", 1},          {"\"", 1},
        {"\"\\", 2},       {"\xef\xbb\xbf{}", 0},
        {"{\"a\":1,}", 7}, {"\"\\udc00\"", 7},
        {"truex", 4},      {"[}", 1},
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        json_t *value = NULL;
        size_t offset = 99;
        assert_int_equal(dbk_json_parse(daybook_text(malformed[i].text), &value, &offset), DAYBOOK_EINVALID);
        assert_null(value);
        if (offset != malformed[i].offset) fail_msg("%s: at %zu", malformed[i].text, offset);
    }
    json_t *value = NULL;
    assert_int_equal(dbk_json_parse(daybook_text("{\"a\\u0000b\":1}"), &value, NULL), DAYBOOK_EINVALID);
    assert_int_equal(dbk_json_parse(daybook_bytes("{}\0", 3), &value, NULL), DAYBOOK_EINVALID);
}

static void depth_is_limited_and_the_limit_can_be_written(void **context) {
    (void)context;
    enum { DEPTH = 100000 };
    char *text = malloc(DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    json_t *value = NULL;
    assert_int_equal(dbk_json_parse(daybook_bytes(text, DEPTH), &value, NULL), DAYBOOK_EINVALID);
    memset(text, '[', 2000);
    memset(text + 2000, ']', 2000);
    assert_int_equal(dbk_json_parse(daybook_bytes(text, 4000), &value, NULL), DAYBOOK_OK);
    char *printed = print(value);
    assert_int_equal(strlen(printed), 4000);
    free(printed);
    json_decref(value);
    free(text);
}

// RFC 7396, Appendix A.
static const struct {
    const char *original, *patch, *result;
} examples[] = {
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
    {"{\"a\":\"foo\"}", "null", "null"},
    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    // RFC 7396, section 3.
    {"{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\",\"familyName\":\"Doe\"},"
     "\"tags\":[\"example\",\"sample\"],\"content\":\"This will be unchanged\"}",
     "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\",\"author\":{\"familyName\":null},"
     "\"tags\":[\"example\"]}",
     "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},\"tags\":[\"example\"],"
     "\"content\":\"This will be unchanged\",\"phoneNumber\":\"+01-123-456-7890\"}"},
};
enum { EXAMPLE_COUNT = sizeof examples / sizeof *examples };

static void merge_patch_does_every_example_of_the_rfc(void **context) {
    (void)context;
    for (size_t i = 0; i < EXAMPLE_COUNT; i++) {
        json_t *original = parse(examples[i].original);
        json_t *patch = parse(examples[i].patch);
        json_t *result = NULL;
        assert_int_equal(dbk_json_merge_any(original, patch, &result), DAYBOOK_OK);
        char *printed = print(result);
        assert_string_equal(printed, examples[i].result);
        free(printed);
        char *untouched = print(original);
        assert_string_equal(untouched, examples[i].original);
        free(untouched);
        json_decref(result);
        json_decref(patch);
        json_decref(original);
    }
}

static void a_patch_object_is_not_shared_with_the_state(void **context) {
    (void)context;
    json_t *state = json_object();
    json_t *first = parse("{\"a\":{\"b\":{\"c\":1}}}");
    json_t *second = parse("{\"a\":{\"b\":{\"c\":2}}}");
    assert_int_equal(dbk_json_merge(state, first), DAYBOOK_OK);
    assert_int_equal(dbk_json_merge(state, second), DAYBOOK_OK);
    char *printed = print(first);
    assert_string_equal(printed, "{\"a\":{\"b\":{\"c\":1}}}");
    free(printed);
    json_decref(second);
    json_decref(first);
    json_decref(state);
}

static char *changes(const char *from, const char *to, bool is_patch) {
    json_t *before = parse(from);
    json_t *after = parse(to);
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 24);
    daybook_status status = is_patch ? dbk_json_write_patch_changes(&out, before, after)
                                     : dbk_json_write_changes(&out, before, after);
    assert_int_equal(status, DAYBOOK_OK);
    dbk_buf_append_u8(&out, '\0');
    json_decref(after);
    json_decref(before);
    return (char *)out.data;
}

static void check_changes(const char *from, const char *to, const char *expected) {
    char *text = changes(from, to, false);
    assert_string_equal(text, expected);
    free(text);
}

static void check_patch_changes(const char *from, const char *patch, const char *expected) {
    char *text = changes(from, patch, true);
    assert_string_equal(text, expected);
    free(text);
}

static void changes_name_what_came_went_and_became_another(void **context) {
    (void)context;
    check_changes("{}", "{}", "[]");
    check_changes("{\"a\":1}", "{\"a\":1}", "[]");
    check_changes("{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":{\"d\":null}}",
                  "[{\"path\":\"/a\",\"from\":1},{\"path\":\"/b\",\"from\":2,\"to\":3},"
                  "{\"path\":\"/c\",\"to\":{\"d\":null}}]");
    check_changes("{\"a\":{\"b\":{\"c\":1,\"d\":2}}}", "{\"a\":{\"b\":{\"c\":1,\"d\":3}}}",
                  "[{\"path\":\"/a/b/d\",\"from\":2,\"to\":3}]");
    check_changes("{\"a\":{\"b\":1}}", "{\"a\":[1]}", "[{\"path\":\"/a\",\"from\":{\"b\":1},\"to\":[1]}]");
    check_changes("{\"a\":[1,2]}", "{\"a\":[1,2,3]}", "[{\"path\":\"/a\",\"from\":[1,2],\"to\":[1,2,3]}]");
    check_changes("{\"a\":null}", "{}", "[{\"path\":\"/a\",\"from\":null}]");
    check_changes("{\"a\":1}", "{\"a\":1.0}", "[{\"path\":\"/a\",\"from\":1,\"to\":1.0}]");
}

static void paths_are_json_pointers(void **context) {
    (void)context;
    check_changes("{}", "{\"a/b\":1,\"m~n\":2,\"\":3,\" \\\"\\\\\":4}",
                  "[{\"path\":\"/a~1b\",\"to\":1},{\"path\":\"/m~0n\",\"to\":2},{\"path\":\"/\",\"to\":3},"
                  "{\"path\":\"/ \\\"\\\\\",\"to\":4}]");
}

static void changes_of_a_patch_are_those_it_makes(void **context) {
    (void)context;
    check_patch_changes("{\"a\":1,\"b\":{\"c\":2}}", "{\"a\":1,\"b\":{\"c\":null,\"d\":null},\"e\":null}",
                        "[{\"path\":\"/b/c\",\"from\":2}]");
    check_patch_changes("{\"a\":1}", "{\"a\":{\"b\":null,\"c\":{\"d\":null,\"e\":1}}}",
                        "[{\"path\":\"/a\",\"from\":1,\"to\":{\"c\":{\"e\":1}}}]");
    check_patch_changes("{}", "{\"a\":{}}", "[{\"path\":\"/a\",\"to\":{}}]");
    check_patch_changes("{\"a\":{}}", "{\"a\":{}}", "[]");
    check_patch_changes("{\"a\":{\"b\":1}}", "{\"a\":[null]}",
                        "[{\"path\":\"/a\",\"from\":{\"b\":1},\"to\":[null]}]");
}

// Random objects with few names, so that they meet.
static unsigned random_state = 1;
static unsigned pick(unsigned count) {
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % count;
}

static json_t *random_object(int depth) {
    json_t *object = json_object();
    for (unsigned i = pick(4); i > 0; i--) {
        char name[2] = {(char)('a' + pick(4)), '\0'};
        unsigned kind = pick(6);
        json_t *value = kind == 0                ? json_null()
                        : kind == 1              ? json_true()
                        : kind == 2              ? json_pack("[i]", (int)pick(3))
                        : kind >= 4 && depth > 0 ? random_object(depth - 1)
                                                 : json_integer((json_int_t)pick(3));
        assert_int_equal(json_object_set_new(object, name, value), 0);
    }
    return object;
}

static int compare_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The changes as a sorted text, because the two ways to make them order them differently.
static char *sorted(const char *text) {
    json_t *list = parse(text);
    size_t count = json_array_size(list);
    char **lines = calloc(count + 1, sizeof *lines);
    for (size_t i = 0; i < count; i++)
        lines[i] = json_dumps(json_array_get(list, i), JSON_SORT_KEYS | JSON_COMPACT);
    qsort(lines, count, sizeof *lines, compare_text);
    char *all = calloc(1, strlen(text) + count + 2);
    for (size_t i = 0; i < count; i++) {
        strcat(all, lines[i]);
        strcat(all, "\n");
        free(lines[i]);
    }
    free(lines);
    json_decref(list);
    return all;
}

static void changes_of_a_patch_equal_the_difference_of_before_and_after(void **context) {
    (void)context;
    for (unsigned round = 0; round < 3000; round++) {
        random_state = round + 1;
        json_t *bare = random_object(3);
        json_t *patch = random_object(3);
        json_t *before = json_object(); // A state holds no nulls but in arrays.
        assert_int_equal(dbk_json_merge(before, bare), DAYBOOK_OK);
        json_t *after = NULL;
        assert_int_equal(dbk_json_merge_any(before, patch, &after), DAYBOOK_OK);
        char *texts[3] = {print(before), print(patch), print(after)};
        char *by_patch = changes(texts[0], texts[1], true);
        char *by_difference = changes(texts[0], texts[2], false);
        char *a = sorted(by_patch);
        char *b = sorted(by_difference);
        if (strcmp(a, b) != 0) fail_msg("round %u: %s + %s: %s / %s", round, texts[0], texts[1], a, b);
        free(a);
        free(b);
        free(by_patch);
        free(by_difference);
        for (int i = 0; i < 3; i++) free(texts[i]);
        json_decref(after);
        json_decref(before);
        json_decref(patch);
        json_decref(bare);
    }
}

// Running out of memory in jansson, at every step.
static long allocations_left = LONG_MAX;
static void *failing_malloc(size_t size) {
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static daybook_status merge_once(void) {
    json_t *state = NULL;
    json_t *patch = NULL;
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    daybook_status status = dbk_json_parse(
        daybook_text("{\"a\":{\"b\":[1,2.5,\"c\"]},\"n\":99999999999999999999}"), &state, NULL);
    if (status == DAYBOOK_OK)
        status = dbk_json_parse(daybook_text("{\"a\":{\"d\":{\"e\":null,\"f\":{}}},\"g\":{\"h\":{}}}"),
                                &patch, NULL);
    if (status == DAYBOOK_OK) status = dbk_json_write_patch_changes(&out, state, patch);
    if (status == DAYBOOK_OK) status = dbk_json_merge(state, patch);
    dbk_buf_deinit(&out);
    json_decref(patch);
    json_decref(state);
    return status;
}

static void running_out_of_memory_is_a_status_at_every_step(void **context) {
    (void)context;
    json_set_alloc_funcs(failing_malloc, free);
    daybook_status status = DAYBOOK_ENOMEM;
    long step = 0;
    for (; status != DAYBOOK_OK && step < 1000; step++) {
        allocations_left = step;
        status = merge_once();
        if (status != DAYBOOK_OK && status != DAYBOOK_ENOMEM) break;
    }
    allocations_left = LONG_MAX;
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(status, DAYBOOK_OK);
    assert_true(step > 20);
}

static void a_full_buffer_is_a_status(void **context) {
    (void)context;
    json_t *before = parse("{}");
    json_t *after = parse("{\"a\":\"0123456789\"}");
    for (size_t size_max = 0; size_max < 30; size_max++) {
        dbk_buf out;
        dbk_buf_init(&out, dbk_allocator_default(), size_max);
        assert_int_equal(dbk_json_write_changes(&out, before, after), DAYBOOK_ENOMEM);
        dbk_buf_deinit(&out);
    }
    json_decref(after);
    json_decref(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_compact_and_keeps_the_order_of_members),
        cmocka_unit_test(integers_of_64_bits_are_exact),
        cmocka_unit_test(integers_beyond_64_bits_become_reals_and_leave_the_others_exact),
        cmocka_unit_test(reals_have_the_fewest_digits_that_read_back),
        cmocka_unit_test(reals_ignore_the_locale),
        cmocka_unit_test(strings_are_escaped_where_json_demands_it_and_nowhere_else),
        cmocka_unit_test(strings_for_clients_of_nats_are_escaped_as_go_does),
        cmocka_unit_test(of_duplicate_names_the_last_value_wins),
        cmocka_unit_test(what_is_not_json_is_refused_and_the_place_named),
        cmocka_unit_test(depth_is_limited_and_the_limit_can_be_written),
        cmocka_unit_test(merge_patch_does_every_example_of_the_rfc),
        cmocka_unit_test(a_patch_object_is_not_shared_with_the_state),
        cmocka_unit_test(changes_name_what_came_went_and_became_another),
        cmocka_unit_test(paths_are_json_pointers),
        cmocka_unit_test(changes_of_a_patch_are_those_it_makes),
        cmocka_unit_test(changes_of_a_patch_equal_the_difference_of_before_and_after),
        cmocka_unit_test(running_out_of_memory_is_a_status_at_every_step),
        cmocka_unit_test(a_full_buffer_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
