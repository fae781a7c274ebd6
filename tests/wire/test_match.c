// SPDX-License-Identifier: Apache-2.0
// The patterns of wire scripts: a tool that says yes to everything would find nothing.
#include "wire/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct pattern_case {
    const char *pattern;
    const char *said;
    bool matches;
} pattern_case;

static void patterns_match_what_they_say(void **state) {
    (void)state;
    static const pattern_case cases[] = {
        {"", "", true},
        {"PONG", "PONG", true},
        {"PONG", "PONG ", false},
        {"PONG", "PON", false},
        {"a\\r\\nb", "a\r\nb", true},
        {"\\x41\\x0a\\\\\\<", "A\n\\<", true},
        {"<any>", "", true},
        {"a<any>c", "abbc", true},
        {"a<any>c", "abbd", false},
        {"<any>b<any>", "aba", true},
        {"<number>.<number>", "2.10", true},
        {"<number>", "", false},
        {"<number>", "1a", false},
        {"<word> <word>", "a b", true},
        {"<word>", "a b", false},
        {"<1|2> x", "2 x", true},
        {"<1|2> x", "3 x", false},
        {"<a|ab>c", "abc", true},
        {"<x*3>", "xxx", true},
        {"<x*3>", "xxxx", false},
        {"<ab*2>c", "ababc", true},
        {"<\\x20*2>|", "  |", true},
        {"<one> <one>", "a a", true},
        {"<one> <one>", "a b", false},
        {"<one><two>", "ab", true},
        {"MSG <subject> <number>\\r\\n<any>", "MSG a 3\r\nabc", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        names captured = {0};
        char why[256];
        text said = {cases[i].said, strlen(cases[i].said)};
        if (match_text(cases[i].pattern, said, &captured, why, sizeof why) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].said);
    }
}

static void json_is_compared_by_fields(void **state) {
    (void)state;
    static const pattern_case cases[] = {
        {"{}", "{}", true},
        {"{}", "{\"a\":1}", true},
        {"{=}", "{\"a\":1}", false},
        {"{\"a\":1}", "{\"b\":{\"a\":2},\"a\":1}", true},
        {"{\"a\":1}", "{\"a\":2}", false},
        {"{\"a\":1}", "{\"a\":10}", false},
        {"{\"a\":1}", "{\"a\":\"1\"}", false},
        {"{\"a\":1}", "{}", false},
        {"{\"a\":absent}", "{}", true},
        {"{\"a\":absent}", "{\"a\":null}", false},
        {"{= \"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{= \"a\":1,\"b\":2}", "{\"b\":2,\"a\":1,\"c\":3}", false},
        {"{\"a\":<any>}", "{\"a\":{\"b\":[1,2]}}", true},
        {"{\"a\":\"<any>\"}", "{\"a\":\"x y\"}", true},
        {"{\"a\":\"<any>\"}", "{\"a\":5}", false},
        {"{\"a\":\"x<number>\"}", "{\"a\":\"x5\"}", true},
        {"{\"a\":{\"b\":true}}", "{\"a\":{\"b\":true,\"c\":1}}", true},
        {"{\"a\":{\"b\":true}}", "{\"a\":{\"b\":false}}", false},
        {"{\"a\":{}}", "{\"a\":[]}", false},
        {"{\"a\":[1,\"x\",{\"b\":2}]}", "{\"a\":[1, \"x\", {\"b\":2,\"c\":3}] }", true},
        {"{\"a\":[1]}", "{\"a\":[1,2]}", false},
        {"{\"a\":[1,2]}", "{\"a\":[1]}", false},
        {"{\"a\":[]}", "{\"a\":[]}", true},
        {"{\"a\":[]}", "{\"a\":[1]}", false},
        {"{\"a\":\"}\"}", "{\"a\":\"}\"}", true},
        {"{\"a\":\"x.>&\\<\"}", "{\"a\":\"x.\\u003e\\u0026\\u003c\"}", true},
        {"INFO {\"a\":1}", "INFO {\"a\":1} ", true},
        {"INFO {\"a\":1}", "PING {\"a\":1}", false},
        {"{\"a\":1}", "no JSON", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        names captured = {0};
        char why[256];
        text said = {cases[i].said, strlen(cases[i].said)};
        if (match_json(cases[i].pattern, said, &captured, why, sizeof why) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].said);
    }
}

static void captures_are_put_in_again(void **state) {
    (void)state;
    names captured = {0};
    char why[256];
    size_t size;
    assert_true(match_text("MSG <reply> <number>", (text){"MSG a.b 3", 9}, &captured, why, sizeof why));
    char *sent = expand("PUB <reply> <x*3>\\r\\n", &captured, &size, why, sizeof why);
    assert_non_null(sent);
    assert_int_equal(size, strlen("PUB a.b xxx\r\n"));
    assert_memory_equal(sent, "PUB a.b xxx\r\n", size);
    free(sent);
    assert_true(match_text("<reply>", (text){"a.b", 3}, &captured, why, sizeof why));
    assert_false(match_text("<reply>", (text){"a.c", 3}, &captured, why, sizeof why));
    assert_null(expand("<unknown>", &captured, &size, why, sizeof why));
    assert_null(expand("\\q", &captured, &size, why, sizeof why));
    assert_null(expand("<x*", &captured, &size, why, sizeof why));
    // A failed match captures nothing.
    assert_false(match_text("<new> x", (text){"a y", 3}, &captured, why, sizeof why));
    assert_int_equal(captured.count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_what_they_say),
        cmocka_unit_test(json_is_compared_by_fields),
        cmocka_unit_test(captures_are_put_in_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
