// SPDX-License-Identifier: Apache-2.0
#include "scenarios/run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool run_is_traced;

// ---- Time and failure -------------------------------------------------------------------------------------

int64_t run_clock_ns(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

void run_sleep_ns(int64_t duration_ns) {
    struct timespec left = {duration_ns / SECOND_NS, duration_ns % SECOND_NS};
    while (nanosleep(&left, &left) != 0) continue;
}

void run_fail(run *at, const char *format, ...) {
    if (at->failed) return;
    at->failed = 1;
    int used = snprintf(at->said, sizeof at->said, "%s:%u: %s\n    in: %s\n    ", at->scenario->file,
                        at->line->number, at->line->text, at->scenario->title);
    if ((size_t)used >= sizeof at->said) return; // full with the place alone
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(at->said + used, sizeof at->said - (size_t)used, format, arguments);
    va_end(arguments);
}

void run_trace(const run *at, const char *what) {
    if (run_is_traced) printf("  %-60s => %s\n", at->line->text, what);
}

const char *run_name_of(scenario_outcome outcome) {
    static const char *const names[] = {
        [OUTCOME_OK] = "ok",          [OUTCOME_NOTHING] = "nothing", [OUTCOME_REFUSED] = "refused",
        [OUTCOME_LIMIT] = "limit",    [OUTCOME_ABSENT] = "absent",   [OUTCOME_NOT_PENDING] = "not_pending",
        [OUTCOME_BROKEN] = "failure",
    };
    return names[outcome];
}

bool run_expects_anything(const run *at) {
    return at->expected_count > 0 && strcmp(at->expected[0], "?") == 0;
}

void run_expect_outcome(run *at, scenario_outcome outcome) {
    const char *expected = at->expected_count > 0 ? at->expected[0] : "ok";
    run_trace(at, outcome == OUTCOME_OK ? "ok" : at->why);
    if (!run_expects_anything(at) && strcmp(expected, run_name_of(outcome)) != 0)
        run_fail(at, "expected %s, got %s (%s)", expected, run_name_of(outcome), at->why);
}

// ---- Words ------------------------------------------------------------------------------------------------

void run_split(run *at) {
    (void)snprintf(at->text, sizeof at->text, "%s", at->line->text);
    at->word_count = at->expected_count = 0;
    at->expected = NULL;
    char *text = at->text;
    while (*(text += strspn(text, " \t")) != '\0') {
        if (at->word_count + at->expected_count + 1 >= WORDS_MAX) {
            run_fail(at, "more than %d words", WORDS_MAX);
            return;
        }
        char *end = text + strcspn(text, " \t");
        bool last = *end == '\0';
        *end = '\0';
        if (at->expected == NULL && strcmp(text, "->") == 0) {
            at->expected = at->words + at->word_count;
        } else if (at->expected == NULL) {
            at->words[at->word_count++] = text;
        } else {
            at->expected[at->expected_count++] = text;
        }
        if (last) break;
        text = end + 1;
    }
}

const char *run_value_of(const char *word, const char *key) {
    size_t size = strlen(key);
    return strncmp(word, key, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}

const char *run_find_value(const run *at, const char *key) {
    for (size_t i = 1; i < at->word_count; i++) {
        const char *value = run_value_of(at->words[i], key);
        if (value != NULL) return value;
    }
    return NULL;
}

bool run_has_word(const run *at, const char *word) {
    for (size_t i = 1; i < at->word_count; i++) {
        if (strcmp(at->words[i], word) == 0) return true;
    }
    return false;
}

uint64_t run_number_of(run *at, const char *text) {
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (end == text || *end != '\0') run_fail(at, "'%s' is no number", text);
    return number;
}

int64_t run_duration_of(run *at, const char *text) {
    char *end;
    long long number = strtoll(text, &end, 10);
    int64_t unit_ns = strcmp(end, "ms") == 0 ? MILLISECOND_NS : strcmp(end, "s") == 0 ? SECOND_NS : 0;
    if (end == text || (unit_ns == 0 && (*end != '\0' || number != 0)))
        run_fail(at, "'%s' is no duration", text);
    return number * unit_ns * at->scale;
}

const char *run_name_at(run *at, size_t index) {
    if (index < at->word_count) return at->words[index];
    run_fail(at, "a word is missing");
    return "";
}

int run_index_of(run *at, const char *word, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, names[i]) == 0) return (int)i;
    }
    run_fail(at, "'%s' is unknown", word);
    return 0;
}
