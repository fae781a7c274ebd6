// SPDX-License-Identifier: Apache-2.0
#include "subject/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "daybook/event.h"

static void subjects_and_filters_are_judged_right(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int is_subject;
        int is_filter;
    } cases[] = {
        {"a", 1, 1},
        {"orders.123.shipped", 1, 1},
        {"$KV.bucket.key", 1, 1},
        {"gr\xc3\xbc\xc3\x9f.e", 1, 1},
        {"a-b_c/d=e:f", 1, 1},
        {"a*", 1, 1}, // a wildcard only as a whole token
        {"*a.b>", 1, 1},
        {"a.**.>>", 1, 1},
        {"*", 0, 1},
        {">", 0, 1},
        {"a.*", 0, 1},
        {"*.b", 0, 1},
        {"a.*.c.>", 0, 1},
        {"a.>", 0, 1},
        {"*.*.>", 0, 1},
        {">.a", 0, 0},
        {"a.>.b", 0, 0},
        {"", 0, 0},
        {".", 0, 0},
        {".a", 0, 0},
        {"a.", 0, 0},
        {"a..b", 0, 0},
        {"a b", 0, 0},
        {" a", 0, 0},
        {"a\tb", 0, 0},
        {"a\nb", 0, 0},
        {"a\x7f", 0, 0},
        {"a\x01", 0, 0},
        {"a.\xc3", 0, 0},
        {"\xff", 0, 0},
        {"a.> ", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_slice text = daybook_text(cases[i].text);
        if (daybook_subject_is_valid(text) != cases[i].is_subject) fail_msg("subject '%s'", cases[i].text);
        if (daybook_filter_is_valid(text) != cases[i].is_filter) fail_msg("filter '%s'", cases[i].text);
    }
    assert_false(daybook_subject_is_valid(daybook_bytes(NULL, 0)));
    assert_false(daybook_subject_is_valid(daybook_bytes("a\0b", 3)));
}

static void the_longest_subject_has_1024_bytes(void **state) {
    (void)state;
    char text[DAYBOOK_SUBJECT_SIZE_MAX + 1];
    memset(text, 'a', sizeof text);
    assert_true(daybook_subject_is_valid(daybook_bytes(text, DAYBOOK_SUBJECT_SIZE_MAX)));
    assert_true(daybook_filter_is_valid(daybook_bytes(text, DAYBOOK_SUBJECT_SIZE_MAX)));
    assert_false(daybook_subject_is_valid(daybook_bytes(text, DAYBOOK_SUBJECT_SIZE_MAX + 1)));
    for (size_t i = 1; i < sizeof text; i += 2) text[i] = '.';
    assert_true(daybook_subject_is_valid(daybook_bytes(text, DAYBOOK_SUBJECT_SIZE_MAX - 1)));
    assert_false(daybook_subject_is_valid(daybook_bytes(text, DAYBOOK_SUBJECT_SIZE_MAX)));
}

static void filters_match_as_in_nats(void **state) {
    (void)state;
    static const struct {
        const char *filter;
        const char *subject;
        int matches;
    } cases[] = {
        {"a", "a", 1},         {"a", "b", 0},      {"a", "a.b", 0},       {"a.b", "a", 0},
        {"a.b", "a.b", 1},     {"a.b", "a.bc", 0}, {"a.bc", "a.b", 0},    {"*", "a", 1},
        {"*", "a.b", 0},       {"a.*", "a", 0},    {"a.*", "a.b", 1},     {"a.*", "a.b.c", 0},
        {"*.b", "a.b", 1},     {"*.b", "a.c", 0},  {"a.*.c", "a.x.c", 1}, {"a.*.c", "a.c", 0},
        {">", "a", 1},         {">", "a.b.c", 1},  {"a.>", "a", 0},       {"a.>", "a.b", 1},
        {"a.>", "a.b.c.d", 1}, {"a.>", "b.a", 0},  {"a.*.>", "a.b", 0},   {"a.*.>", "a.b.c", 1},
        {"*.*", "a.b", 1},     {"*.*", "a", 0},    {"a*", "ab", 0},       {"a*", "a*", 1},
        {"a>", "a>", 1},       {"a>", "ab", 0},    {"aa.>", "a.b", 0},    {"a.b.c", "a.b.c", 1},
        {"*.>", "a", 0},       {"*.>", "a.b", 1},  {"A", "a", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int matches = daybook_filter_matches(daybook_text(cases[i].filter), daybook_text(cases[i].subject));
        if (matches != cases[i].matches) fail_msg("%s on %s", cases[i].filter, cases[i].subject);
    }
}

static void overlap_and_cover_follow_the_table(void **state) {
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        int overlap;
        int a_covers_b;
        int b_covers_a;
    } cases[] = {
        {"a", "a", 1, 1, 1},           {"a", "b", 0, 0, 0},         {"a", "a.b", 0, 0, 0},
        {"a.*", "a.b", 1, 1, 0},       {"a.*", "*.b", 1, 0, 0},     {"a.*", "b.*", 0, 0, 0},
        {"a.>", "a.b", 1, 1, 0},       {"a.>", "a", 0, 0, 0},       {"a.>", "a.*", 1, 1, 0},
        {"a.>", "a.*.>", 1, 1, 0},     {"a.>", ">", 1, 0, 1},       {"a.>", "*.b", 1, 0, 0},
        {"a.>", "*.>", 1, 0, 1},       {"a.>", "b.>", 0, 0, 0},     {"a.*.>", "a.b", 0, 0, 0},
        {"*.*", "a.>", 1, 0, 0},       {"*.*", "*.>", 1, 0, 1},     {">", ">", 1, 1, 1},
        {"*", "*", 1, 1, 1},           {"*", ">", 1, 0, 1},         {"*", "a", 1, 1, 0},
        {"a.*.c", "a.b.*", 1, 0, 0},   {"a.*.c", "a.b.d", 0, 0, 0}, {"a.*.c", "*.b.c", 1, 0, 0},
        {"a.b.>", "a.*", 0, 0, 0},     {"a.b.>", "a.*.c", 1, 0, 0}, {"a.b.>", "a.c.>", 0, 0, 0},
        {"a*", "ab", 0, 0, 0},         {"a*", "a*", 1, 1, 1},       {"a*", "*", 1, 0, 1},
        {"x.a.>", "x.*.b.>", 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_slice a = daybook_text(cases[i].a);
        daybook_slice b = daybook_text(cases[i].b);
        if (daybook_filters_overlap(a, b) != cases[i].overlap)
            fail_msg("%s overlap %s", cases[i].a, cases[i].b);
        if (daybook_filters_overlap(b, a) != cases[i].overlap)
            fail_msg("%s overlap %s", cases[i].b, cases[i].a);
        if (daybook_filter_covers(a, b) != cases[i].a_covers_b)
            fail_msg("%s covers %s", cases[i].a, cases[i].b);
        if (daybook_filter_covers(b, a) != cases[i].b_covers_a)
            fail_msg("%s covers %s", cases[i].b, cases[i].a);
    }
}

// All filters of up to four tokens over {a, b, *, >} against all subjects of up to five tokens over {a, b,
// c}: wide enough that "some subject matches both" and "all of these match that" can be counted. Two fresh
// tokens (c and a further one) and one token more than any filter has stand for the infinitely many others.
enum { FILTER_MAX = 400, SUBJECT_MAX = 400 };

static size_t make_texts(const char *const *alphabet, size_t alphabet_size, size_t tokens_max,
                         char texts[][16], size_t texts_max) {
    size_t count = 0;
    size_t level_start = 0;
    for (size_t level = 0; level < tokens_max; level++) {
        size_t level_end = count;
        for (size_t base = level_start; base < (level == 0 ? 1 : level_end); base++) {
            for (size_t i = 0; i < alphabet_size; i++) {
                assert_true(count < texts_max);
                (void)snprintf(texts[count], 16, "%.12s%s%s", level == 0 ? "" : texts[base],
                               level == 0 ? "" : ".", alphabet[i]);
                count++;
            }
        }
        level_start = level_end;
    }
    return count;
}

static void overlap_and_cover_agree_with_counting_subjects(void **state) {
    (void)state;
    static const char *const filter_alphabet[] = {"a", "b", "*", ">"};
    static const char *const subject_alphabet[] = {"a", "b", "c"};
    static char filters[FILTER_MAX][16];
    static char subjects[SUBJECT_MAX][16];
    size_t filter_count = make_texts(filter_alphabet, 4, 4, filters, FILTER_MAX);
    size_t subject_count = make_texts(subject_alphabet, 3, 5, subjects, SUBJECT_MAX);
    static bool matches[FILTER_MAX][SUBJECT_MAX];
    for (size_t f = 0; f < filter_count; f++) {
        for (size_t s = 0; s < subject_count; s++) {
            matches[f][s] = daybook_filter_matches(daybook_text(filters[f]), daybook_text(subjects[s]));
        }
    }
    size_t valid = 0;
    for (size_t a = 0; a < filter_count; a++) {
        if (!daybook_filter_is_valid(daybook_text(filters[a]))) continue;
        valid++;
        for (size_t b = 0; b < filter_count; b++) {
            if (!daybook_filter_is_valid(daybook_text(filters[b]))) continue;
            bool overlap = false;
            bool covers = true;
            for (size_t s = 0; s < subject_count; s++) {
                overlap |= matches[a][s] && matches[b][s];
                covers &= matches[a][s] || !matches[b][s];
            }
            if (daybook_filters_overlap(daybook_text(filters[a]), daybook_text(filters[b])) != overlap) {
                fail_msg("%s overlap %s", filters[a], filters[b]);
            }
            if (daybook_filter_covers(daybook_text(filters[a]), daybook_text(filters[b])) != covers) {
                fail_msg("%s covers %s", filters[a], filters[b]);
            }
        }
    }
    assert_int_equal(valid, (3 + 9 + 27 + 81) + (1 + 3 + 9 + 27));
}

static void aggregates_need_a_token_behind_them(void **state) {
    (void)state;
    static const struct {
        const char *subject;
        uint32_t tokens;
        const char *aggregate;
        const char *type;
    } cases[] = {
        {"orders.123.shipped", 2, "orders.123", "shipped"},
        {"issues.7.issue.state.changed", 2, "issues.7", "issue.state.changed"},
        {"orders.v1.9.placed", 3, "orders.v1.9", "placed"},
        {"orders.123", 2, "", "123"},
        {"orders", 2, "", "orders"},
        {"orders.123.shipped", 0, "", "shipped"},
        {"orders.123.shipped", 1, "orders", "123.shipped"},
        {"orders.123.shipped", 3, "", "shipped"},
        {"orders.123.shipped", UINT32_MAX, "", "shipped"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_slice subject = daybook_text(cases[i].subject);
        size_t size = dbk_subject_aggregate_size(subject, cases[i].tokens);
        assert_true(dbk_slice_equal(daybook_bytes(subject.data, size), daybook_text(cases[i].aggregate)));
        assert_true(dbk_slice_equal(dbk_subject_type(subject, size), daybook_text(cases[i].type)));
    }
}

static void tokens_are_counted_and_found(void **state) {
    (void)state;
    daybook_slice subject = daybook_text("orders.123.item.added");
    static const char *const tokens[] = {"orders", "123", "item", "added"};
    assert_int_equal(dbk_subject_token_count(subject), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(dbk_slice_equal(dbk_subject_token(subject, i), daybook_text(tokens[i])));
    }
    assert_int_equal(dbk_subject_token(subject, 4).size, 0);
    assert_int_equal(dbk_subject_token(subject, UINT32_MAX).size, 0);
    assert_int_equal(dbk_subject_token_count(daybook_text("a")), 1);
    assert_int_equal(dbk_subject_token_count(daybook_bytes(NULL, 0)), 0);
    assert_int_equal(dbk_subject_token(daybook_bytes(NULL, 0), 0).size, 0);
}

static void subjects_of_any_bytes_are_literal_or_not(void **state) {
    (void)state;
    static const char *const literal[] = {"a", "a.b", "a*.b", "*a", ">>", "a.>b", "**", "a b", "\xff.\x01"};
    static const char *const other[] = {"", ".", "a.", ".a", "a..b", "*", ">", "a.*", "*.a", "a.>", "a.>.b"};
    for (size_t i = 0; i < sizeof literal / sizeof *literal; i++) {
        if (!dbk_subject_is_literal(daybook_text(literal[i]))) fail_msg("'%s' is", literal[i]);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        if (dbk_subject_is_literal(daybook_text(other[i]))) fail_msg("'%s' is not", other[i]);
    }
}

static void literals_and_prefixes_are_recognised(void **state) {
    (void)state;
    static const struct {
        const char *filter;
        bool is_literal;
        size_t prefix_size;
        size_t literal_size;
    } cases[] = {
        {"a", true, 0, 1},      {"a.b", true, 0, 3},    {"a*.b>", true, 0, 5},     {"*", false, 0, 0},
        {">", false, 0, 0},     {"a.>", false, 1, 1},   {"a.b.>", false, 3, 3},    {"*.>", false, 0, 0},
        {"a.*.>", false, 0, 1}, {"a.*", false, 0, 1},   {"a.b>", true, 0, 4},      {"a*.>", false, 2, 2},
        {"*.a", false, 0, 0},   {"a.*.b", false, 0, 1}, {"a.bc.*.d", false, 0, 4}, {"a.**.*", false, 0, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(dbk_filter_is_literal(daybook_text(cases[i].filter)), cases[i].is_literal);
        assert_int_equal(dbk_filter_prefix_size(daybook_text(cases[i].filter)), cases[i].prefix_size);
        assert_int_equal(dbk_filter_literal_size(daybook_text(cases[i].filter), UINT32_MAX),
                         cases[i].literal_size);
    }
}

static void literal_tokens_are_taken_up_to_a_number(void **state) {
    (void)state;
    dbk_slice filter = daybook_text("a.bc.def.*.g");
    static const size_t sizes[] = {0, 1, 4, 8, 8, 8};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(dbk_filter_literal_size(filter, i), sizes[i]);
    assert_int_equal(dbk_filter_literal_size(daybook_bytes(NULL, 0), UINT32_MAX), 0);
    assert_true(dbk_filter_is_literal(daybook_bytes(NULL, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_and_filters_are_judged_right),
        cmocka_unit_test(the_longest_subject_has_1024_bytes),
        cmocka_unit_test(filters_match_as_in_nats),
        cmocka_unit_test(overlap_and_cover_follow_the_table),
        cmocka_unit_test(overlap_and_cover_agree_with_counting_subjects),
        cmocka_unit_test(aggregates_need_a_token_behind_them),
        cmocka_unit_test(tokens_are_counted_and_found),
        cmocka_unit_test(subjects_of_any_bytes_are_literal_or_not),
        cmocka_unit_test(literals_and_prefixes_are_recognised),
        cmocka_unit_test(literal_tokens_are_taken_up_to_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
