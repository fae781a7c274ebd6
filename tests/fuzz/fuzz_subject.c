// SPDX-License-Identifier: Apache-2.0
// Subjects and filters: input is texts separated by zero bytes: two filters and subjects. What the functions
// say of each other must agree, and matching must agree with a naive matcher.
#include "fuzz.h"
#include "subject/subject.h"

static bool naive_match(dbk_slice filter, dbk_slice subject) {
    uint32_t filter_count = dbk_subject_token_count(filter);
    uint32_t subject_count = dbk_subject_token_count(subject);
    for (uint32_t i = 0; i < filter_count; i++) {
        dbk_slice token = dbk_subject_token(filter, i);
        if (i >= subject_count) return false;
        if (dbk_slice_equal(token, daybook_text(">"))) return i + 1 == filter_count;
        if (!dbk_slice_equal(token, daybook_text("*")) &&
            !dbk_slice_equal(token, dbk_subject_token(subject, i)))
            return false;
    }
    return filter_count == subject_count;
}

static void check_subject(dbk_slice subject) {
    uint32_t count = dbk_subject_token_count(subject);
    FUZZ_CHECK(count >= 1);
    FUZZ_CHECK(daybook_filter_is_valid(subject) && dbk_filter_is_literal(subject));
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        dbk_slice token = dbk_subject_token(subject, i);
        FUZZ_CHECK(token.size > 0);
        fuzz_touch(token);
        size += token.size + (i > 0);
    }
    FUZZ_CHECK(size == subject.size);
    FUZZ_CHECK(dbk_subject_token(subject, count).size == 0);
    for (uint32_t tokens = 0; tokens <= count + 1; tokens++) {
        size_t aggregate_size = dbk_subject_aggregate_size(subject, tokens);
        FUZZ_CHECK((aggregate_size > 0) == (tokens > 0 && tokens < count));
        dbk_slice type = dbk_subject_type(subject, aggregate_size);
        FUZZ_CHECK(type.size > 0);
        if (aggregate_size > 0) FUZZ_CHECK(aggregate_size + 1 + type.size == subject.size);
        fuzz_touch(type);
    }
}

static void check_pair(dbk_slice a, dbk_slice b, dbk_slice subject) {
    int matches_a = daybook_filter_matches(a, subject);
    int matches_b = daybook_filter_matches(b, subject);
    FUZZ_CHECK(!matches_a == !naive_match(a, subject));
    FUZZ_CHECK(!matches_a == !daybook_filter_covers(a, subject));
    FUZZ_CHECK(!matches_a == !daybook_filters_overlap(a, subject));
    FUZZ_CHECK(!daybook_filters_overlap(a, b) == !daybook_filters_overlap(b, a));
    if (matches_a && matches_b) FUZZ_CHECK(daybook_filters_overlap(a, b));
    if (matches_b && daybook_filter_covers(a, b)) FUZZ_CHECK(matches_a);
    if (daybook_filter_covers(a, b)) FUZZ_CHECK(daybook_filters_overlap(a, b));
    FUZZ_CHECK(daybook_filter_covers(a, a));
    size_t literal = dbk_filter_literal_size(a, UINT32_MAX);
    if (matches_a) FUZZ_CHECK(memcmp(a.data, subject.data, literal) == 0);
    FUZZ_CHECK(literal <= a.size && (literal == a.size) == dbk_filter_is_literal(a));
    size_t prefix = dbk_filter_prefix_size(a);
    if (prefix > 0 && matches_a) FUZZ_CHECK(memcmp(a.data, subject.data, prefix + 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice input = daybook_bytes(data, size);
    dbk_slice a = fuzz_take_text(&input);
    dbk_slice b = fuzz_take_text(&input);
    bool are_filters = daybook_filter_is_valid(a) && daybook_filter_is_valid(b);
    do {
        dbk_slice subject = fuzz_take_text(&input);
        if (!daybook_subject_is_valid(subject)) continue;
        check_subject(subject);
        if (are_filters) check_pair(a, b, subject);
    } while (input.size > 0);
    return 0;
}
