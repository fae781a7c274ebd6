// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

#include "cli/cli.h"
#include "cli/progress.h"

#include <stdlib.h>

static void assert_output(cli_output *out, const char *expected) {
    assert_int_equal(out->failed_errno, 0);
    assert_int_equal(out->size, strlen(expected));
    assert_memory_equal(out->data, expected, out->size);
    out->size = 0;
}

static void strings_are_escaped(void **state) {
    (void)state;
    cli_output out;
    cli_output_init(&out, -1);
    cli_put_json_string(&out, daybook_text("plain \"q\" \\ \n\t\x01\x7f \xC3\xA9 \xFF\xC3"));
    assert_output(&out, "\"plain \\\"q\\\" \\\\ \\n\\t\\u0001\\u007f \xC3\xA9 \xEF\xBF\xBD\xEF\xBF\xBD\"");
    cli_put_csv_field(&out, daybook_text("plain"));
    cli_put_csv_field(&out, daybook_text("a,\"b\"\n"));
    assert_output(&out, "plain\"a,\"\"b\"\"\n\"");
    cli_put_plain(&out, daybook_text("a\x1b[1m\xC2\x9b\xFF\xC3\xA9"), 0);
    assert_output(&out, "a\\x1b[1m\\xc2\\x9b\\xff\xC3\xA9");
    cli_put_plain(&out, daybook_text("abcdefgh"), 4);
    assert_output(&out, "abc\xE2\x80\xA6");
    cli_output_deinit(&out);
}

static void long_strings_cross_chunks_whole(void **state) {
    (void)state;
    // Two-byte characters at odd offsets, so that a chunk's end falls into one.
    size_t size = 200001;
    char *text = malloc(size);
    text[0] = 'x';
    for (size_t i = 1; i < size; i += 2) memcpy(text + i, "\xC3\xA9", 2);
    cli_output out;
    cli_output_init(&out, -1);
    cli_put_json_string(&out, daybook_bytes(text, size));
    assert_int_equal(out.size, size + 2);
    assert_memory_equal(out.data + 1, text, size);
    free(text);
    cli_output_deinit(&out);
}

static void times_have_nine_digits_on_both_sides_of_the_epoch(void **state) {
    (void)state;
    cli_output out;
    cli_output_init(&out, -1);
    static const struct {
        int64_t time_ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000000Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {-1000000000, "1969-12-31T23:59:59.000000000Z"},
        {1767225600123456789, "2026-01-01T00:00:00.123456789Z"},
        {1767225600000000001, "2026-01-01T00:00:00.000000001Z"},
    };
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            cli_put_time(&out, cases[i].time_ns);
            assert_output(&out, cases[i].text);
        }
    cli_output_deinit(&out);
}

static void data_is_shown_as_what_it_is(void **state) {
    (void)state;
    cli_output out;
    cli_output_init(&out, -1);
    cli_put_json_data(&out, daybook_text("{\"a\" :1}\n"), CLI_DATA_COMPACT);
    assert_output(&out, "\"data\":{\"a\":1}");
    cli_put_json_data(&out, daybook_text("{\"a\" :1}"), CLI_DATA_EXACT);
    assert_output(&out, "\"data\":{\"a\" :1}");
    cli_put_json_data(&out, daybook_text("{\"a\":\n1}"), CLI_DATA_EXACT);
    assert_output(&out, "\"text\":\"{\\\"a\\\":\\n1}\"");
    cli_put_json_data(&out, daybook_text(" 1"), CLI_DATA_EXACT);
    assert_output(&out, "\"text\":\" 1\"");
    cli_put_json_data(&out, daybook_text(""), CLI_DATA_COMPACT);
    assert_output(&out, "\"text\":\"\"");
    cli_put_json_data(&out, daybook_text("\xFF\xFE"), CLI_DATA_COMPACT);
    assert_output(&out, "\"data_base64\":\"//4=\"");
    cli_put_json_data(&out, daybook_text("\xFF"), CLI_DATA_EXACT);
    assert_output(&out, "\"data_base64\":\"/w==\"");
    cli_output_deinit(&out);
}

static void numbers_are_whole_and_fit(void **state) {
    (void)state;
    uint64_t number = 7;
    assert_true(cli_parse_number(daybook_text("0"), &number));
    assert_true(number == 0);
    assert_true(cli_parse_number(daybook_text("18446744073709551615"), &number));
    assert_true(number == UINT64_MAX);
    static const char *const others[] = {"",   "-1", "+1", " 1", "1 ", "1.0", "0x1", "18446744073709551616",
                                         "1e3"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(cli_parse_number(daybook_text(others[i]), &number));
    char text[32];
    assert_string_equal(cli_grouped(0, text), "0");
    assert_string_equal(cli_grouped(999, text), "999");
    assert_string_equal(cli_grouped(1204, text), "1,204");
    assert_string_equal(cli_grouped(UINT64_MAX, text), "18,446,744,073,709,551,615");
    assert_string_equal(cli_byte_text(1023, text), "1023 B");
    assert_string_equal(cli_byte_text(3565158, text), "3.4 MiB");
}

static void queries_have_items_of_types_tags_and_a_filter(void **state) {
    (void)state;
    cli_context context = {.json = 0};
    cli_query_items items;
    assert_int_equal(
        cli_parse_query_items(&context, "type=a,\"b c\" tag=x tag=\"y;\\\"z\";  subject=o.> tag=t ", &items),
        0);
    assert_int_equal(items.count, 2);
    assert_int_equal(items.items[0].type_count, 2);
    assert_memory_equal(items.items[0].types[1].data, "b c", 3);
    assert_int_equal(items.items[0].tag_count, 2);
    assert_memory_equal(items.items[0].tags[1].data, "y;\"z", 4);
    assert_int_equal(items.items[1].type_count, 0);
    assert_int_equal(items.items[1].tag_count, 1);
    assert_memory_equal(items.items[1].filter.data, "o.>", 3);
    cli_query_items_release(&items);
    // Tags before, between and behind types stay apart.
    assert_int_equal(cli_parse_query_items(&context, "tag=x type=a,b tag=y", &items), 0);
    assert_int_equal(items.items[0].tag_count, 2);
    assert_memory_equal(items.items[0].tags[1].data, "y", 1);
    assert_memory_equal(items.items[0].types[1].data, "b", 1);
    cli_query_items_release(&items);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(long_strings_cross_chunks_whole),
        cmocka_unit_test(times_have_nine_digits_on_both_sides_of_the_epoch),
        cmocka_unit_test(data_is_shown_as_what_it_is),
        cmocka_unit_test(numbers_are_whole_and_fit),
        cmocka_unit_test(queries_have_items_of_types_tags_and_a_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
