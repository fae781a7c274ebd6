// SPDX-License-Identifier: Apache-2.0
// Subjects and filters: validity and matching, exactly as NATS (docs.nats.io, "Subject-Based Messaging"; the
// server's IsValidSubject, SubjectsCollide and subjectIsSubsetMatch).
//
// A token is a wildcard only where it is nothing but `*` or `>`; "a*" is a literal token. `>` is a wildcard
// only as the last token and stands for one or more. Stricter than NATS in three points, so that every
// subject can be printed and stored: UTF-8, no control characters, at most 1024 bytes.
//
// All functions walk the bytes once and keep nothing. Behind the validity checks the text is taken as valid;
// invalid text gives a wrong answer, never a read outside. Pure, any thread.
#include "subject/subject.h"

#include <string.h>

#include "base/bytes.h"
#include "daybook/event.h"

// The tokens of a text, one after the other.
typedef struct tokens {
    const char *at; // start of the next token
    const char *end;
    bool is_done;
} tokens;

static tokens tokens_of(dbk_slice text) {
    static const char nothing[1];
    const char *start = text.size == 0 ? nothing : text.data;
    return (tokens){.at = start, .end = start + text.size, .is_done = text.size == 0};
}

static bool next_token(tokens *left, dbk_slice *token_out) {
    if (left->is_done) return false;
    size_t size = (size_t)(left->end - left->at);
    const char *dot = size == 0 ? NULL : memchr(left->at, '.', size);
    size_t token_size = dot == NULL ? size : (size_t)(dot - left->at);
    *token_out = daybook_bytes(left->at, token_size);
    left->is_done = dot == NULL;
    left->at += token_size + (dot != NULL);
    return true;
}

static bool is_wildcard(dbk_slice token, char wildcard) {
    return token.size == 1 && *(const char *)token.data == wildcard;
}

static bool is_one(dbk_slice token) {
    return is_wildcard(token, '*');
}

static bool is_rest(dbk_slice token) {
    return is_wildcard(token, '>');
}

static bool is_valid(dbk_slice text, bool allows_wildcards) {
    if (text.data == NULL || text.size == 0 || text.size > DAYBOOK_SUBJECT_SIZE_MAX) return false;
    if (!dbk_is_plain_text(text) || memchr(text.data, ' ', text.size) != NULL) return false;
    const char *at = text.data, *end = at + text.size;
    for (;; at++) {
        const char *token = at;
        while (at < end && *at != '.') at++;
        if (at == token) return false;
        bool is_single = at == token + 1;
        if (is_single && (*token == '*' || *token == '>') && !allows_wildcards) return false;
        if (is_single && *token == '>' && at < end) return false;
        if (at == end) return true;
    }
}

int daybook_subject_is_valid(daybook_slice subject) {
    return is_valid(subject, false);
}

int daybook_filter_is_valid(daybook_slice filter) {
    return is_valid(filter, true);
}

int daybook_filter_matches(daybook_slice filter, daybook_slice subject) {
    if (filter.size == 0 || subject.size == 0) return filter.size == subject.size;
    const char *wanted = filter.data, *wanted_end = wanted + filter.size;
    const char *given = subject.data, *given_end = given + subject.size;
    for (;;) { // both are at the start of a token
        if (wanted < wanted_end && (*wanted == '*' || *wanted == '>') &&
            (wanted + 1 == wanted_end || wanted[1] == '.')) {
            if (*wanted == '>') return 1;
            wanted++;
            while (given < given_end && *given != '.') given++;
        } else {
            while (wanted < wanted_end && given < given_end && *wanted == *given && *wanted != '.')
                wanted++, given++;
        }
        if (wanted == wanted_end || given == given_end) return wanted == wanted_end && given == given_end;
        if (*wanted != '.' || *given != '.') return 0;
        wanted++, given++;
    }
}

int daybook_filters_overlap(daybook_slice a, daybook_slice b) {
    tokens left_a = tokens_of(a);
    tokens left_b = tokens_of(b);
    dbk_slice token_a;
    dbk_slice token_b;
    while (next_token(&left_a, &token_a)) {
        if (!next_token(&left_b, &token_b)) return 0;
        if (is_rest(token_a) || is_rest(token_b)) return 1;
        if (!is_one(token_a) && !is_one(token_b) && !dbk_slice_equal(token_a, token_b)) return 0;
    }
    return left_b.is_done;
}

int daybook_filter_covers(daybook_slice wide, daybook_slice narrow) {
    tokens left_wide = tokens_of(wide);
    tokens left_narrow = tokens_of(narrow);
    dbk_slice token_wide;
    dbk_slice token_narrow;
    while (next_token(&left_wide, &token_wide)) {
        if (!next_token(&left_narrow, &token_narrow)) return 0;
        if (is_rest(token_wide)) return 1;
        if (is_rest(token_narrow)) return 0;
        // A literal equal to a narrow `*` does not exist, so equality is enough for both.
        if (!is_one(token_wide) && !dbk_slice_equal(token_wide, token_narrow)) return 0;
    }
    return left_narrow.is_done;
}

size_t dbk_subject_aggregate_size(dbk_slice subject, uint32_t token_count) {
    const char *text = subject.data;
    if (token_count == 0) return 0;
    for (size_t i = 0; i < subject.size; i++) {
        if (text[i] == '.' && --token_count == 0) return i;
    }
    return 0;
}

dbk_slice dbk_subject_type(dbk_slice subject, size_t aggregate_size) {
    const char *text = subject.data;
    size_t start = 0;
    if (aggregate_size > 0 && aggregate_size < subject.size) {
        start = aggregate_size + 1;
    } else {
        for (size_t i = 0; i < subject.size; i++) {
            if (text[i] == '.') start = i + 1;
        }
    }
    return daybook_bytes(text + start, subject.size - start);
}

bool dbk_subject_is_literal(dbk_slice subject) {
    if (subject.size == 0) return false;
    const char *at = subject.data, *end = at + subject.size;
    for (;;) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        size_t size = (size_t)((dot != NULL ? dot : end) - at);
        if (size == 0 || (size == 1 && (*at == '*' || *at == '>'))) return false;
        if (dot == NULL) return true;
        at = dot + 1;
    }
}

uint32_t dbk_subject_token_count(dbk_slice subject) {
    const char *text = subject.data;
    if (subject.size == 0) return 0;
    uint32_t count = 1;
    for (size_t i = 0; i < subject.size; i++) count += text[i] == '.';
    return count;
}

dbk_slice dbk_subject_token(dbk_slice subject, uint32_t index) {
    tokens left = tokens_of(subject);
    dbk_slice token;
    for (uint32_t i = 0; next_token(&left, &token); i++) {
        if (i == index) return token;
    }
    return daybook_bytes(NULL, 0);
}

size_t dbk_filter_literal_size(dbk_slice filter, uint32_t token_count_max) {
    tokens left = tokens_of(filter);
    dbk_slice token;
    size_t size = 0;
    for (uint32_t i = 0; i < token_count_max && next_token(&left, &token); i++) {
        if (is_one(token) || is_rest(token)) break;
        size += token.size + (i > 0);
    }
    return size;
}

bool dbk_filter_is_literal(dbk_slice filter) {
    return dbk_filter_literal_size(filter, UINT32_MAX) == filter.size;
}

size_t dbk_filter_prefix_size(dbk_slice filter) {
    const char *text = filter.data;
    if (filter.size < 3 || text[filter.size - 1] != '>' || text[filter.size - 2] != '.') return 0;
    dbk_slice prefix = daybook_bytes(text, filter.size - 2);
    return dbk_filter_is_literal(prefix) ? prefix.size : 0;
}
