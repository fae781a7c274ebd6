// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

#include "cli/template.h"

static void assert_token(const char *text, const char *expected) {
    cli_output out;
    cli_output_init(&out, -1);
    cli_put_subject_token(&out, daybook_text(text));
    assert_text(&out, expected);
    char back[256];
    size_t size = cli_subject_token_decode((daybook_slice){out.data, out.size}, back);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(back, text, size);
    cli_output_deinit(&out);
}

static void tokens_are_escaped_where_a_subject_needs_it_and_can_be_undone(void **state) {
    (void)state;
    assert_token("case-10011", "case-10011");
    assert_token("a.b c*d>e%f", "a%2Eb%20c%2Ad%3Ee%25f");
    assert_token("\t\n\x7f", "%09%0A%7F");
    assert_token("Zürich/Größe", "Zürich/Größe");
    assert_token("broken \xC3( \xFF", "broken%20%C3(%20%FF");
}

static void broken_escapes_are_told(void **state) {
    (void)state;
    char out[8];
    assert_int_equal(cli_subject_token_decode(daybook_text("a%2"), out), SIZE_MAX);
    assert_int_equal(cli_subject_token_decode(daybook_text("%zz"), out), SIZE_MAX);
}

static void assert_slug(const char *text, const char *expected) {
    cli_output out;
    cli_output_init(&out, -1);
    cli_put_slug(&out, daybook_text(text));
    assert_text(&out, expected);
    cli_output_deinit(&out);
}

static void slugs_lower_letters_and_join_with_one_underscore(void **state) {
    (void)state;
    assert_slug("Confirmation of receipt", "confirmation_of_receipt");
    assert_slug("  T02 -- Check (it)! ", "t02_check_it");
    assert_slug("Größe Ä", "größe_Ä");
    assert_slug("--- !", "");
    assert_slug("", "");
}

static void assert_refused(const char *text, cli_template_kind kind, const char *part_of_message) {
    cli_template parsed;
    daybook_error error;
    assert_int_equal(cli_template_parse(text, kind, &parsed, &error), DAYBOOK_EINVALID);
    if (strstr(error.message, part_of_message) == NULL) fail_msg("%s: %s", text, error.message);
}

static void templates_are_cut_into_text_and_columns(void **state) {
    (void)state;
    cli_template parsed;
    daybook_error error;
    assert_int_equal(
        cli_template_parse("p{{x}}.{case:concept:name}.{a|b|slug}", CLI_TEMPLATE_SUBJECT, &parsed, &error),
        DAYBOOK_OK);
    assert_int_equal(parsed.part_count, 4);
    assert_true(cli_slice_equals(parsed.parts[0].text, daybook_text("p{x}.")));
    assert_true(cli_slice_equals(parsed.parts[1].text, daybook_text("case:concept:name")));
    assert_true(parsed.parts[1].is_column && !parsed.parts[1].slug);
    assert_true(cli_slice_equals(parsed.parts[3].text, daybook_text("a|b")));
    assert_true(parsed.parts[3].slug);
    cli_template_deinit(&parsed);
}

static void malformed_templates_are_refused_with_the_reason(void **state) {
    (void)state;
    assert_refused("", CLI_TEMPLATE_SUBJECT, "empty");
    assert_refused("a.{b", CLI_TEMPLATE_SUBJECT, "has no }");
    assert_refused("a.b}", CLI_TEMPLATE_SUBJECT, "closes nothing");
    assert_refused("a.{}", CLI_TEMPLATE_SUBJECT, "names no column");
    assert_refused("a.{|slug}", CLI_TEMPLATE_TAG, "names no column");
    assert_refused("a.{b|each}", CLI_TEMPLATE_SUBJECT, "|each");
    assert_refused("{a|each}{b|each}", CLI_TEMPLATE_TAG, "second");
}

static void templates_that_can_give_no_subject_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"c..x",    ".{a}",   "{a}.",     "c.*.{a}", "{a}.>",
                                        "c d.{a}", "c.\x01", "{a}..{b}", "\xff.{a}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_refused(texts[i], CLI_TEMPLATE_SUBJECT, "no subject");
    cli_template parsed;
    daybook_error error;
    assert_int_equal(cli_template_parse("{a}{b}.c", CLI_TEMPLATE_SUBJECT, &parsed, &error), DAYBOOK_OK);
    cli_template_deinit(&parsed);
    assert_int_equal(cli_template_parse("c..{a}", CLI_TEMPLATE_TAG, &parsed, &error), DAYBOOK_OK);
    cli_template_deinit(&parsed);
}

static void assert_list(const char *text, const char *expected) {
    cli_output out, element;
    cli_output_init(&out, -1);
    cli_output_init(&element, -1);
    cli_list list;
    cli_list_begin(&list, daybook_text(text));
    int more;
    do {
        element.size = 0;
        more = cli_list_next(&list, &element);
        if (more == 1) {
            cli_put(&out, element.data, element.size);
            cli_put_char(&out, ';');
        } else if (more < 0) {
            cli_puts(&out, "malformed");
        }
    } while (more == 1);
    assert_text(&out, expected);
    cli_output_deinit(&out);
    cli_output_deinit(&element);
}

static void lists_are_read_as_json_or_as_python_prints_them(void **state) {
    (void)state;
    assert_list("['880001','880004']", "880001;880004;");
    assert_list("[ \"a\" , 'b' ]", "a;b;");
    assert_list("[\"a, b\", 'it\\'s', 3.5, true]", "a, b;it's;3.5;true;");
    assert_list("[\"\\u00e9\\ud83d\\ude00\", '\\xe9']", "é😀;é;");
    assert_list("[None, null, nan, '', 'x',]", "x;");
    assert_list("[]", "");
    assert_list("", "");
    assert_list(" ", "");
    assert_list("plain text", "plain text;");
    assert_list("['a'", "a;malformed");
    assert_list("['a' 'b']", "a;malformed");
    assert_list("['a'] x", "a;malformed");
    assert_list("[[1]]", "malformed");
    assert_list("['a", "malformed");
    assert_list("[\"\\ud83d\"]", "malformed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_escaped_where_a_subject_needs_it_and_can_be_undone),
        cmocka_unit_test(broken_escapes_are_told),
        cmocka_unit_test(slugs_lower_letters_and_join_with_one_underscore),
        cmocka_unit_test(templates_are_cut_into_text_and_columns),
        cmocka_unit_test(malformed_templates_are_refused_with_the_reason),
        cmocka_unit_test(templates_that_can_give_no_subject_are_refused),
        cmocka_unit_test(lists_are_read_as_json_or_as_python_prints_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
