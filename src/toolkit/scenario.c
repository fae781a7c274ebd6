// SPDX-License-Identifier: Apache-2.0
// Scenarios: given events, when a command, then what came of it.
//
// The state is evolved as it is when loading, event by event, with versions counted from 1 and a clock that
// moves a second per event. A command's events are evolved too once its expectations are closed, which is at
// the next command or the end. The report holds a paragraph for each command that went otherwise:
//
//     command 2, after 3 events:
//       expected: paid {"total":42}
//            got: paid {"total":40}
//       expected: nothing more
//            got: closed
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/testkit.h"
#include "toolkit/typed.h"
#include "json/json.h"

enum { REPORT_SIZE_MAX = 1 << 20, LINE_TEXT_MAX = 400 };
#define TIME_BEGIN_NS INT64_C(1767225600000000000) // 2026-01-01
#define SECOND_NS INT64_C(1000000000)

typedef struct told {
    daybook_status status;
    char message[DAYBOOK_ERROR_MESSAGE_MAX];
} told;

struct daybook_scenario {
    daybook_aggregate_type type;
    dbk_typed typed;
    char name[DAYBOOK_SUBJECT_SIZE_MAX + 1];
    uint64_t version;
    daybook_decision decision; // of the last command
    told result;
    unsigned command_count;
    size_t expected_count; // of its events met by expectations
    bool is_open;          // a command whose expectations are not closed
    bool is_failure_met;   // it was expected to fail, and did
    bool is_headed;        // its paragraph was begun
    uint64_t version_before;
    daybook_status failed; // what kept a step from being taken
    dbk_buf report;
};

// The report.

static void put(daybook_scenario *scenario, const char *text) {
    dbk_buf_append_slice(&scenario->report, daybook_text(text));
}

static void put_cut(daybook_scenario *scenario, daybook_slice text) {
    bool is_cut = text.size > LINE_TEXT_MAX;
    dbk_buf_append_slice(&scenario->report, daybook_bytes(text.data, is_cut ? LINE_TEXT_MAX : text.size));
    if (is_cut) put(scenario, "...");
}

static void head(daybook_scenario *scenario) {
    char text[96];
    if (scenario->is_headed) return;
    scenario->is_headed = true;
    if (scenario->command_count == 0)
        (void)snprintf(text, sizeof text, "before any command:\n");
    else
        (void)snprintf(text, sizeof text, "command %u, after %llu events:\n", scenario->command_count,
                       (unsigned long long)scenario->version_before);
    put(scenario, text);
}

static void put_expected(daybook_scenario *scenario, const char *what, daybook_slice data) {
    head(scenario);
    put(scenario, "  expected: ");
    put(scenario, what);
    if (data.size > 0) put(scenario, " ");
    put_cut(scenario, data);
}

static void put_got(daybook_scenario *scenario, const char *what, daybook_slice data) {
    put(scenario, "\n       got: ");
    put(scenario, what);
    if (data.size > 0) put(scenario, " ");
    put_cut(scenario, data);
    put(scenario, "\n");
}

static void put_result(daybook_scenario *scenario) {
    if (scenario->result.status == DAYBOOK_OK)
        put_got(scenario, "no failure", daybook_bytes(NULL, 0));
    else
        put_got(scenario, daybook_status_name(scenario->result.status),
                daybook_text(scenario->result.message));
}

// Something in the way of the scenario itself: no verdict on the decider.
static void break_off(daybook_scenario *scenario, daybook_status status, const char *what, const char *why) {
    head(scenario);
    put(scenario, "  ");
    put(scenario, what);
    put(scenario, ": ");
    put(scenario, why);
    put(scenario, "\n");
    if (scenario->failed == DAYBOOK_OK) scenario->failed = status;
}

// Events.

static daybook_slice type_of(const daybook_scenario *scenario, const daybook_event *event) {
    size_t name_size = strlen(scenario->name);
    if (event->type.size > 0 || name_size == 0 || event->subject.size <= name_size + 1) return event->type;
    return daybook_bytes((const char *)event->subject.data + name_size + 1,
                         event->subject.size - name_size - 1);
}

static void evolve(daybook_scenario *scenario, const daybook_event *event) {
    if (scenario->failed != DAYBOOK_OK) return;
    daybook_recorded_event recorded;
    memset(&recorded, 0, sizeof recorded);
    recorded.size = sizeof recorded;
    recorded.event = *event;
    recorded.event.type = type_of(scenario, event);
    recorded.aggregate = daybook_text(scenario->name);
    scenario->version++;
    recorded.seq = recorded.position = recorded.version = scenario->version;
    recorded.recorded_ns = TIME_BEGIN_NS + (int64_t)scenario->version * SECOND_NS;
    if (event->time_ns == DAYBOOK_TIME_NONE) recorded.event.time_ns = recorded.recorded_ns;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = dbk_typed_evolve(&scenario->typed, &recorded, &error);
    if (status != DAYBOOK_OK) break_off(scenario, status, "evolve failed", error.message);
}

// The last command's expectations are complete.
static void close_command(daybook_scenario *scenario) {
    if (!scenario->is_open) return;
    scenario->is_open = false;
    if (scenario->result.status != DAYBOOK_OK && !scenario->is_failure_met) {
        put_expected(scenario, "no failure", daybook_bytes(NULL, 0));
        put_result(scenario);
    }
    if (scenario->result.status != DAYBOOK_OK) return;
    for (size_t i = 0; i < scenario->decision.count; i++) {
        const daybook_event *event = &scenario->decision.events[i];
        if (i >= scenario->expected_count) {
            daybook_slice type = type_of(scenario, event);
            char text[DAYBOOK_TEXT_SIZE_MAX + 1] = "";
            memcpy(text, type.data, type.size < sizeof text ? type.size : sizeof text - 1);
            put_expected(scenario, "nothing more", daybook_bytes(NULL, 0));
            put_got(scenario, text, event->data);
        }
        evolve(scenario, event);
    }
}

// Beginning, steps, end.

daybook_status daybook_scenario_new(const daybook_aggregate_type *type, daybook_scenario **scenario_out,
                                    daybook_error *error) {
    if (scenario_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the scenario given");
    *scenario_out = NULL;
    DBK_TRY(dbk_type_check(type, false, error));
    if (type->category.size > DAYBOOK_SUBJECT_SIZE_MAX - 8)
        return dbk_fail(error, DAYBOOK_ESUBJECT, "category '%.*s' leaves no room for ids",
                        DBK_TEXT(type->category));
    daybook_scenario *scenario = dbk_alloc_zeroed(dbk_allocator_default(), sizeof *scenario);
    if (scenario == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: scenario not begun");
    scenario->type = *type;
    dbk_buf_init(&scenario->report, dbk_allocator_default(), REPORT_SIZE_MAX);
    if (type->category.size > 0)
        (void)snprintf(scenario->name, sizeof scenario->name, "%.*s.1", (int)type->category.size,
                       (const char *)type->category.data);
    daybook_status status = dbk_decision_init(&scenario->decision, NULL, error);
    scenario->decision.name = daybook_text(scenario->name);
    if (status == DAYBOOK_OK) status = dbk_typed_init(&scenario->typed, &scenario->type, error);
    if (status == DAYBOOK_OK) status = dbk_typed_begin(&scenario->typed, error);
    if (status == DAYBOOK_OK)
        *scenario_out = scenario;
    else
        daybook_scenario_free(scenario);
    return status;
}

void daybook_scenario_free(daybook_scenario *scenario) {
    if (scenario == NULL) return;
    dbk_decision_deinit(&scenario->decision);
    dbk_typed_deinit(&scenario->typed);
    dbk_buf_deinit(&scenario->report);
    dbk_free(dbk_allocator_default(), scenario);
}

void daybook_given_event(daybook_scenario *scenario, const daybook_event *event) {
    close_command(scenario);
    evolve(scenario, event);
}

void daybook_given(daybook_scenario *scenario, const char *type, const char *data) {
    daybook_event event;
    daybook_event_init(&event);
    event.type = daybook_text(type);
    event.data = daybook_text(data);
    daybook_given_event(scenario, &event);
}

void daybook_when(daybook_scenario *scenario, daybook_decide decide, const void *command) {
    close_command(scenario);
    scenario->command_count++;
    scenario->is_headed = false;
    scenario->version_before = scenario->version;
    scenario->expected_count = 0;
    scenario->is_failure_met = false;
    if (scenario->failed != DAYBOOK_OK) return;
    daybook_error error;
    daybook_error_init(&error);
    dbk_decision_reset(&scenario->decision, scenario->version);
    daybook_status status = decide(scenario->typed.state, command, &scenario->decision, &error);
    if (status == DAYBOOK_OK) status = scenario->decision.failed;
    scenario->result.status = status;
    memcpy(scenario->result.message, error.message, sizeof scenario->result.message);
    if (status != DAYBOOK_OK) scenario->decision.count = 0;
    scenario->is_open = true;
}

// A step that speaks of a command.
static bool has_command(daybook_scenario *scenario) {
    if (scenario->failed != DAYBOOK_OK) return false;
    if (scenario->is_open) return true;
    break_off(scenario, DAYBOOK_EMISUSE, "an expectation", "no command came before it");
    return false;
}

static bool is_same_data(daybook_scenario *scenario, daybook_slice got, const char *expected) {
    if (expected == NULL || dbk_slice_equal(got, daybook_text(expected))) return true;
    json_t *left = NULL, *right = NULL;
    daybook_status status = dbk_json_parse(got, &left, NULL);
    if (status == DAYBOOK_OK) status = dbk_json_parse(daybook_text(expected), &right, NULL);
    bool is_same = status == DAYBOOK_OK && json_equal(left, right);
    json_decref(left);
    json_decref(right);
    if (status == DAYBOOK_ENOMEM) break_off(scenario, status, "a comparison", "out of memory");
    return is_same || status == DAYBOOK_ENOMEM;
}

void daybook_then(daybook_scenario *scenario, const char *type, const char *data) {
    if (!has_command(scenario)) return;
    size_t index = scenario->expected_count++;
    if (index >= scenario->decision.count) {
        put_expected(scenario, type, daybook_text(data));
        if (scenario->result.status != DAYBOOK_OK) {
            put_result(scenario);
            scenario->is_failure_met = true; // It is told here.
        } else {
            put_got(scenario, "nothing", daybook_bytes(NULL, 0));
        }
        return;
    }
    const daybook_event *event = &scenario->decision.events[index];
    daybook_slice got = type_of(scenario, event);
    if (dbk_slice_equal(got, daybook_text(type)) && is_same_data(scenario, event->data, data)) return;
    char text[DAYBOOK_TEXT_SIZE_MAX + 1] = "";
    memcpy(text, got.data, got.size < sizeof text ? got.size : sizeof text - 1);
    put_expected(scenario, type, daybook_text(data));
    put_got(scenario, text, event->data);
}

void daybook_then_nothing(daybook_scenario *scenario) {
    // Events beyond those expected, and failures, are told when the command is closed.
    (void)has_command(scenario);
}

void daybook_then_fails(daybook_scenario *scenario, daybook_status status, const char *part) {
    if (!has_command(scenario)) return;
    scenario->is_failure_met = true; // Whatever it is, it is told here.
    bool is_met = scenario->result.status == status &&
                  (part == NULL || strstr(scenario->result.message, part) != NULL);
    if (is_met) return;
    put_expected(scenario, daybook_status_name(status), daybook_text(part));
    put_result(scenario);
}

void daybook_then_refused(daybook_scenario *scenario, const char *part) {
    daybook_then_fails(scenario, DAYBOOK_EREFUSED, part);
}

void daybook_then_state(daybook_scenario *scenario,
                        int (*check)(void *context, const void *state, daybook_writer *why), void *context) {
    close_command(scenario);
    if (scenario->failed != DAYBOOK_OK) return;
    dbk_buf why;
    dbk_buf_init(&why, dbk_allocator_default(), REPORT_SIZE_MAX);
    daybook_writer writer = {.buf = &why};
    if (check(context, scenario->typed.state, &writer) != 0) {
        head(scenario);
        put(scenario, "     state: ");
        put_cut(scenario, why.size > 0 ? daybook_bytes(why.data, why.size) : daybook_text("not as expected"));
        put(scenario, "\n");
    }
    dbk_buf_deinit(&why);
}

void daybook_then_state_json(daybook_scenario *scenario, const char *json) {
    close_command(scenario);
    if (scenario->failed != DAYBOOK_OK) return;
    if (scenario->type.codec == NULL) {
        break_off(scenario, DAYBOOK_EMISUSE, "the state as JSON", "the type has no codec");
        return;
    }
    dbk_buf got;
    dbk_buf_init(&got, dbk_allocator_default(), REPORT_SIZE_MAX);
    daybook_writer writer = {.buf = &got};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        scenario->type.codec->encode(scenario->typed.state, scenario->type.context, &writer, &error);
    if (status == DAYBOOK_OK) status = dbk_buf_status(&got);
    if (status != DAYBOOK_OK) {
        break_off(scenario, status, "the state could not be encoded", error.message);
    } else if (!is_same_data(scenario, daybook_bytes(got.data, got.size), json)) {
        put_expected(scenario, "state", daybook_text(json));
        put_got(scenario, "state", daybook_bytes(got.data, got.size));
    }
    dbk_buf_deinit(&got);
}

daybook_status daybook_scenario_end(daybook_scenario *scenario, const char **report_out) {
    close_command(scenario);
    bool is_fine = scenario->report.size == 0;
    dbk_buf_append_u8(&scenario->report, '\0');
    daybook_status status = dbk_buf_status(&scenario->report);
    if (report_out != NULL)
        *report_out = status == DAYBOOK_OK ? (const char *)scenario->report.data : "out of memory: no report";
    if (status != DAYBOOK_OK || is_fine) return status;
    scenario->report.size--; // Called again, it goes on.
    return scenario->failed != DAYBOOK_OK ? scenario->failed : DAYBOOK_ECONFLICT;
}
