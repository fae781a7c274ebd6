// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

#include "cli/json.h"

#include <stdlib.h>

static void assert_compact(const char *text, const char *expected) {
    char out[512];
    size_t size = cli_json_compact(daybook_text(text), out);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(out, expected, size);
}

static void white_space_goes_and_every_other_byte_stays(void **state) {
    (void)state;
    assert_compact(" { \"a\" : [ 1 , 2.50 ,\t-0 , 1E+400 ] , \"a\" : \"x  y\\u00e9\\/\" }\r\n",
                   "{\"a\":[1,2.50,-0,1E+400],\"a\":\"x  y\\u00e9\\/\"}");
    assert_compact("\"\\\" , : \\\\\"", "\"\\\" , : \\\\\"");
    assert_compact("null", "null");
    assert_compact("[]", "[]");
    assert_compact("\"\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80 long enough for whole words\"",
                   "\"\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80 long enough for whole words\"");
}

static void assert_fault(const char *text, size_t size, size_t offset) {
    cli_json_error error = {.offset = 9999};
    assert_false(cli_json_is_valid(daybook_bytes(text, size), &error));
    assert_non_null(error.message);
    assert_int_equal(error.offset, offset);
    char *out = malloc(size + 1);
    assert_true(cli_json_compact(daybook_bytes(text, size), out) == SIZE_MAX);
    free(out);
}

static void what_is_no_json_is_refused_with_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
    } cases[] = {
        {"", 0},
        {" ", 1},
        {"{", 1},
        {"[1,]", 3},
        {"[1 2]", 3},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{a:1}", 1},
        {"{\"a\":1,}", 7},
        {"01", 0},
        {"1.", 2},
        {"1e", 2},
        {"-", 1},
        {"+1", 0},
        {".5", 0},
        {"nul", 0},
        {"nulll", 4},
        {"\"a", 2},
        {"\"\\x\"", 1},
        {"\"\\u12g4\"", 1},
        {"\"a\nb\"", 2},
        {"[1]]", 3},
        {"{}{}", 2},
        {"\xEF\xBB\xBF{}", 0},
        {"\"\xC0\x80\"", 1},
        {"\"\xED\xA0\x80\"", 1},
        {"\"\xF4\x90\x80\x80\"", 1},
        {"\"\xE2\x82\"", 1},
        {"NaN", 0},
        {"'a'", 0},
        {"\"abcdefgh\x01\"", 9},
        {"\"\\", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_fault(cases[i].text, strlen(cases[i].text), cases[i].offset);
    assert_fault("\0", 1, 0);
}

static void nesting_is_bounded_and_costs_no_stack(void **state) {
    (void)state;
    size_t size = 2 * (size_t)CLI_JSON_DEPTH_MAX;
    char *text = malloc(size + 2);
    memset(text, '[', CLI_JSON_DEPTH_MAX);
    memset(text + CLI_JSON_DEPTH_MAX, ']', CLI_JSON_DEPTH_MAX);
    assert_true(cli_json_is_valid(daybook_bytes(text, size), NULL));
    memset(text, '[', CLI_JSON_DEPTH_MAX + 1);
    assert_fault(text, CLI_JSON_DEPTH_MAX + 1, CLI_JSON_DEPTH_MAX);
    free(text);
    // Objects and arrays in turns keep apart.
    assert_compact("[{\"a\":[{\"b\":[]}]},{}]", "[{\"a\":[{\"b\":[]}]},{}]");
    assert_fault("[{\"a\":[1}]", 10, 8);
}

static void members_and_elements_come_as_they_stand(void **state) {
    (void)state;
    cli_json_iterator iterator;
    daybook_slice key, value;
    daybook_slice text = daybook_text(" {\"a\" : 1.0 , \"b\\n\":[ 1 ] }");
    assert_true(cli_json_begin(text, '{', &iterator, NULL));
    assert_int_equal(cli_json_next(&iterator, &key, &value, NULL), 1);
    assert_memory_equal(key.data, "\"a\"", key.size);
    assert_memory_equal(value.data, "1.0", value.size);
    assert_int_equal(cli_json_next(&iterator, &key, &value, NULL), 1);
    assert_memory_equal(key.data, "\"b\\n\"", key.size);
    assert_memory_equal(value.data, "[ 1 ]", value.size);
    assert_int_equal(cli_json_next(&iterator, &key, &value, NULL), 0);
    assert_int_equal(iterator.offset, text.size);
    assert_false(cli_json_begin(daybook_text("[]"), '{', &iterator, NULL));
    assert_true(cli_json_begin(daybook_text("[1 2]"), '[', &iterator, NULL));
    assert_int_equal(cli_json_next(&iterator, &key, &value, NULL), 1);
    assert_int_equal(cli_json_next(&iterator, &key, &value, NULL), -1);
}

static void strings_are_decoded(void **state) {
    (void)state;
    char out[128];
    static const char raw[] = "\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0041\\u00e9\\u4e2d\\uD83D\\ude00\"";
    static const char expected[] = "\"\\/\b\f\n\r\t A\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80";
    assert_int_equal(cli_json_unescape(daybook_text(raw), out), sizeof expected - 1);
    assert_memory_equal(out, expected, sizeof expected - 1);
    assert_true(cli_json_unescape(daybook_text("\"\\ud800\""), out) == SIZE_MAX);
    assert_true(cli_json_unescape(daybook_text("\"\\udc00x\""), out) == SIZE_MAX);
    assert_true(cli_json_unescape(daybook_text("\"\\ud800\\u0041\""), out) == SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_goes_and_every_other_byte_stays),
        cmocka_unit_test(what_is_no_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_is_bounded_and_costs_no_stack),
        cmocka_unit_test(members_and_elements_come_as_they_stand),
        cmocka_unit_test(strings_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
