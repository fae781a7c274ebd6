// SPDX-License-Identifier: Apache-2.0
// One run of a scenario: what its steps share. runner.c begins and ends runs, run.c reads words and tells
// failures, steps.c does what the words say.
#ifndef DBK_TESTS_SCENARIOS_RUN_H
#define DBK_TESTS_SCENARIOS_RUN_H

#include <time.h>

#include "scenarios/driver.h"
#include "scenarios/scenario.h"

enum {
    WORDS_MAX = 48,
    CONSUMERS_MAX = 8,
    REQUESTS_MAX = 16,
    EVENTS_MAX = 256,
    LISTS_MAX = 8,
    TEXT_SIZE = 1024
};
#define MILLISECOND_NS INT64_C(1000000)
#define SECOND_NS (1000 * MILLISECOND_NS)

typedef struct consumer {
    char name[32];
    daybook_consumer_config config;
    char filter_text[LISTS_MAX][TEXT_SIZE + 16];
    daybook_slice filters[LISTS_MAX];
    int64_t backoff_ns[LISTS_MAX];
} consumer;

typedef struct event {
    char subject[TEXT_SIZE + 16];
    uint64_t size;
    int64_t before_ns, after_ns; // when it was appended
} event;

typedef struct run {
    const scenario *scenario;
    scenario_driver *driver;
    scenario_session *session;
    const scenario_line *line;
    char stream[16];
    int64_t scale;
    int64_t settled_ns; // when nothing is early any more
    bool is_early;
    int64_t late_ns; // by how much longer it took than it should
    char text[TEXT_SIZE];
    char *words[WORDS_MAX];
    size_t word_count;
    char **expected; // behind "->"; NULL: anything that is no failure
    size_t expected_count;
    consumer consumers[CONSUMERS_MAX];
    size_t consumer_count;
    struct {
        char name[16];
        char consumer[32];
        scenario_request *request;
        int64_t until_ns;
    } requests[REQUESTS_MAX];
    size_t request_count;
    event events[EVENTS_MAX]; // by seq - 1
    size_t event_count;
    int failed; // 1: failed; 2: skipped
    char said[TEXT_SIZE * 2];
    char why[WHY_SIZE];
} run;

/// DAYBOOK_TRACE: every step is printed with what came of it. Set before the first run.
extern bool run_is_traced;

int64_t run_clock_ns(clockid_t clock);
void run_sleep_ns(int64_t duration_ns);

/// The first failure of a run ends it, and is what is told.
void run_fail(run *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
void run_trace(const run *at, const char *what);
/// What an outcome is called behind "->".
const char *run_name_of(scenario_outcome outcome);
/// Fails where it is not what the line says: "ok" where that says nothing.
void run_expect_outcome(run *at, scenario_outcome outcome);

/// "-> ?": whatever comes is right, for looking at it with DAYBOOK_TRACE.
bool run_expects_anything(const run *at);

/// The line's words into `words` and, behind "->", `expected`.
void run_split(run *at);
/// Behind "key=", or NULL.
const char *run_value_of(const char *word, const char *key);
/// The value of a key among the words from the second on, or NULL.
const char *run_find_value(const run *at, const char *key);
bool run_has_word(const run *at, const char *word);
/// These fail where the word is missing or says something else.
uint64_t run_number_of(run *at, const char *text);
/// "300ms", "2s", "0": longer where the scenario is run again.
int64_t run_duration_of(run *at, const char *text);
const char *run_name_at(run *at, size_t index);
int run_index_of(run *at, const char *word, const char *const *names, size_t count);

/// Do what the line says, where it is for this driver.
void run_take_step(run *at);
/// Every request is collected, or the run fails.
void run_end_requests(run *at);

#endif
