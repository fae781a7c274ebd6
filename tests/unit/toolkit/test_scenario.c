// SPDX-License-Identifier: Apache-2.0
// The test kit: what fits gives no report, what does not is told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "account.h"
#include "daybook/testkit.h"

static daybook_scenario *scenario;

static int set_up(void **context) {
    (void)context;
    account_types_init();
    return daybook_scenario_new(&account_type, &scenario, NULL) == DAYBOOK_OK ? 0 : -1;
}

static int tear_down(void **context) {
    (void)context;
    daybook_scenario_free(scenario);
    return 0;
}

static void expect(daybook_status status, const char *expected) {
    const char *report = NULL;
    daybook_status ended = daybook_scenario_end(scenario, &report);
    assert_string_equal(report, expected);
    assert_int_equal(ended, status);
}

static void pay(int64_t amount, int count) {
    const account_command command = {.amount = amount, .event_count = count};
    daybook_when(scenario, account_pay, &command);
}

static int has_balance(void *context, const void *state, daybook_writer *why) {
    if (((const account *)state)->balance == *(int64_t *)context) return 0;
    daybook_writer_put(why, "another balance", 15);
    return 1;
}

static void what_fits_gives_no_report(void **context) {
    (void)context;
    int64_t balance = 30;
    daybook_given(scenario, "opened", "ada");
    daybook_given(scenario, "paid", "10");
    pay(5, 2);
    daybook_then(scenario, "paid", "5");
    daybook_then(scenario, "paid", NULL);
    pay(-100, 1);
    daybook_then_refused(scenario, "not enough");
    pay(0, 1);
    daybook_then_nothing(scenario);
    pay(10, 1);
    daybook_then(scenario, "paid", "10");
    daybook_then_state(scenario, has_balance, &balance);
    expect(DAYBOOK_OK, "");
}

static void what_differs_is_told_with_its_command(void **context) {
    (void)context;
    daybook_given(scenario, "opened", "ada");
    pay(5, 3);
    daybook_then(scenario, "paid", "6");
    daybook_then(scenario, "sent", NULL);
    pay(1, 1);
    daybook_then(scenario, "paid", "1");
    daybook_then(scenario, "thanked", NULL);
    expect(DAYBOOK_ECONFLICT, "command 1, after 1 events:\n"
                              "  expected: paid 6\n"
                              "       got: paid 5\n"
                              "  expected: sent\n"
                              "       got: paid 5\n"
                              "  expected: nothing more\n"
                              "       got: paid 5\n"
                              "command 2, after 4 events:\n"
                              "  expected: thanked\n"
                              "       got: nothing\n");
}

static void an_unexpected_refusal_is_told(void **context) {
    (void)context;
    pay(5, 1);
    expect(DAYBOOK_ECONFLICT, "command 1, after 0 events:\n"
                              "  expected: no failure\n"
                              "       got: EREFUSED there is no such account\n");
}

static void a_refusal_in_place_of_an_event_is_told_once(void **context) {
    (void)context;
    pay(5, 1);
    daybook_then(scenario, "paid", "5");
    expect(DAYBOOK_ECONFLICT, "command 1, after 0 events:\n"
                              "  expected: paid 5\n"
                              "       got: EREFUSED there is no such account\n");
}

static void a_refusal_that_did_not_come_or_has_other_words_is_told(void **context) {
    (void)context;
    pay(5, 1);
    daybook_then_refused(scenario, "not enough");
    daybook_given(scenario, "opened", "ada");
    pay(5, 1);
    daybook_then_refused(scenario, NULL);
    expect(DAYBOOK_ECONFLICT, "command 1, after 0 events:\n"
                              "  expected: EREFUSED not enough\n"
                              "       got: EREFUSED there is no such account\n"
                              "command 2, after 1 events:\n"
                              "  expected: EREFUSED\n"
                              "       got: no failure\n"
                              "  expected: nothing more\n"
                              "       got: paid 5\n");
}

static void a_state_is_looked_at_by_code_or_as_json(void **context) {
    (void)context;
    daybook_scenario_free(scenario);
    account_type.codec = &account_json;
    assert_int_equal(daybook_scenario_new(&account_type, &scenario, NULL), DAYBOOK_OK);
    int64_t balance = 4;
    daybook_given(scenario, "opened", "ada");
    pay(5, 1);
    daybook_then(scenario, "paid", "5");
    daybook_then_state_json(scenario, "{ \"payments\": 1, \"balance\": 5 }");
    daybook_then_state(scenario, has_balance, &balance);
    daybook_then_state_json(scenario, "{\"balance\":4}");
    expect(DAYBOOK_ECONFLICT, "command 1, after 1 events:\n"
                              "     state: another balance\n"
                              "  expected: state {\"balance\":4}\n"
                              "       got: state {\"balance\":5,\"payments\":1}\n");
}

static daybook_status say_json(const void *state, const void *command, daybook_decision *decision,
                               daybook_error *error) {
    (void)state;
    return daybook_decision_add(decision, "said", daybook_text(command), error);
}

static void data_is_compared_as_json(void **context) {
    (void)context;
    daybook_when(scenario, say_json, "{\"a\":1,\"b\":[2]}");
    daybook_then(scenario, "said", "{ \"b\": [ 2 ], \"a\": 1 }");
    daybook_when(scenario, say_json, "{\"a\":1}");
    daybook_then(scenario, "said", "{\"a\":2}");
    expect(DAYBOOK_ECONFLICT, "command 2, after 1 events:\n"
                              "  expected: said {\"a\":2}\n"
                              "       got: said {\"a\":1}\n");
}

static void what_keeps_it_from_being_run_has_its_own_status(void **context) {
    (void)context;
    daybook_then(scenario, "paid", NULL);
    expect(DAYBOOK_EMISUSE, "before any command:\n  an expectation: no command came before it\n");
    daybook_scenario_free(scenario);
    assert_int_equal(daybook_scenario_new(&account_type, &scenario, NULL), DAYBOOK_OK);
    daybook_given(scenario, "poison", NULL);
    pay(1, 1);
    daybook_then(scenario, "paid", "1");
    expect(DAYBOOK_EREFUSED, "before any command:\n  evolve failed: poisoned\n");
    daybook_scenario_free(scenario);
    assert_int_equal(daybook_scenario_new(NULL, &scenario, NULL), DAYBOOK_EMISUSE);
    assert_null(scenario);
    daybook_scenario_free(NULL);
}

int main(void) {
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_fits_gives_no_report),
        CASE(what_differs_is_told_with_its_command),
        CASE(an_unexpected_refusal_is_told),
        CASE(a_refusal_in_place_of_an_event_is_told_once),
        CASE(a_refusal_that_did_not_come_or_has_other_words_is_told),
        CASE(a_state_is_looked_at_by_code_or_as_json),
        CASE(data_is_compared_as_json),
        CASE(what_keeps_it_from_being_run_has_its_own_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
