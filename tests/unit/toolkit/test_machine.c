// SPDX-License-Identifier: Apache-2.0
// State machines: declared by table and by file, moved along and refused, drawn.
#include <pthread.h>

#include "daybook/machine.h"
#include "fixture.h"
#include "unit/engine/core_engine.h"

#define TEXT(literal) daybook_text(literal)

static const daybook_transition ways[] = {
    {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("in_progress"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("rejected"), DAYBOOK_TEXT("issue.rejected"), {NULL, 0}},
    {DAYBOOK_TEXT("in_progress"), DAYBOOK_TEXT("review"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("review"), DAYBOOK_TEXT("in_progress"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("review"), DAYBOOK_TEXT("closed"), {NULL, 0}, DAYBOOK_TEXT("is_tested")},
};

static void declare(daybook_machine_config *config) {
    daybook_machine_config_init(config);
    config->name = TEXT("issue");
    config->category = TEXT("issues");
    config->initial = TEXT("open");
    config->transitions = ways;
    config->transition_count = sizeof ways / sizeof ways[0];
}

static daybook_machine *make(fixture *store) {
    daybook_machine_config config;
    daybook_machine *machine = NULL;
    declare(&config);
    assert_ok(store, daybook_machine_new(&config, &machine, &store->error));
    return machine;
}

static int add_issues(void **context) {
    if (fixture_open(context) != 0) return -1;
    fixture_add_stream(*context, "ISSUES", "issues.>");
    return 0;
}

typedef struct moving {
    fixture *store;
    daybook_engine *engine;
    daybook_machine *machine;
} moving;

static daybook_status move(const moving *at, const char *from, const char *to, const char *reason) {
    daybook_move_options options;
    daybook_move_options_init(&options);
    options.actor = TEXT("ada");
    options.reason = daybook_text(reason);
    options.correlation = TEXT("c");
    return daybook_machine_move(at->machine, at->engine, TEXT("7"), daybook_text(from), daybook_text(to),
                                &options, NULL, &at->store->error);
}

static void check_state(const moving *at, const daybook_moment *moment, const char *expected,
                        uint64_t version) {
    char state[DAYBOOK_TEXT_SIZE_MAX + 1];
    uint64_t found = 0;
    assert_ok(at->store, daybook_machine_state(at->machine, at->engine, TEXT("7"), moment, state, &found,
                                               &at->store->error));
    assert_string_equal(state, expected);
    assert_int_equal(found, version);
}

static void walk(fixture *store, daybook_engine *engine) {
    moving at = {.store = store, .engine = engine, .machine = make(store)};
    char state[DAYBOOK_TEXT_SIZE_MAX + 1];
    assert_status(store,
                  daybook_machine_state(at.machine, engine, TEXT("7"), NULL, state, NULL, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_ok(store, move(&at, "open", "in_progress", "mine"));
    check_state(&at, NULL, "in_progress", 1);
    assert_status(store, move(&at, "open", "rejected", NULL), DAYBOOK_ECONFLICT);
    assert_string_equal(store->error.message,
                        "issues.7 is in 'in_progress', not in 'open': look again and decide anew");
    assert_status(store, move(&at, "in_progress", "closed", NULL), DAYBOOK_EREFUSED);
    assert_string_equal(
        store->error.message,
        "issues.7 cannot go from 'in_progress' to 'closed': from 'in_progress' only to 'review'");
    assert_ok(store, move(&at, "", "review", NULL));
    check_state(&at, NULL, "review", 2);
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = 1;
    check_state(&at, &moment, "in_progress", 1);
    daybook_machine_free(at.machine);
}

static void moves_follow_what_is_declared(void **context) {
    fixture *store = *context;
    walk(store, daybook_store_engine(store->store));
    daybook_state *state = NULL;
    assert_ok(store, daybook_state_load(daybook_store_engine(store->store), TEXT("issues.7"), NULL, &state,
                                        &store->error));
    assert_string_equal(state->json, "{\"from\":\"in_progress\",\"to\":\"review\",\"reason\":\"mine\"}");
    daybook_state_release(state);
}

static void the_core_of_an_engine_is_enough(void **context) {
    fixture *store = *context;
    daybook_engine *core = core_engine_new(store->store);
    assert_non_null(core);
    walk(store, core);
    core_engine_free(core);
}

static void a_refusal_names_every_way(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    assert_status(store, move(&at, "open", "closed", NULL), DAYBOOK_EREFUSED);
    assert_non_null(strstr(store->error.message, "from 'open' only to 'in_progress', 'rejected'"));
    assert_ok(store, move(&at, "open", "rejected", NULL));
    assert_status(store, move(&at, "rejected", "open", NULL), DAYBOOK_EREFUSED);
    assert_non_null(strstr(store->error.message, "nothing leads on from 'rejected'"));
    assert_status(store, move(&at, "nowhere", "open", NULL), DAYBOOK_EINVALID);
    assert_status(store, move(&at, "open", "nowhere", NULL), DAYBOOK_EINVALID);
    assert_non_null(strstr(store->error.message, "'nowhere' is no state of machine 'issue'"));
    assert_status(store, move(&at, "open", "", NULL), DAYBOOK_EINVALID);
    // The machine's event of this way has a type of its own.
    uint64_t count = 0;
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice type = TEXT("issue.rejected");
    query.types = &type;
    query.type_count = 1;
    assert_ok(store, daybook_count(store->store, &query, &count, &store->error));
    assert_int_equal(count, 1);
    daybook_machine_free(at.machine);
}

static void other_events_do_not_move_it(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    fixture_append(store, "issues.7.created", "{\"to\":\"closed\"}", NULL);
    check_state(&at, NULL, "open", 1);
    assert_ok(store, move(&at, "open", "in_progress", NULL));
    static const char *const odd[] = {"", "no json", "[]", "{}", "{\"to\":7}", "{\"to\":\"\"}"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        fixture_append(store, "issues.7.issue.state.changed", odd[i], NULL);
    check_state(&at, NULL, "in_progress", 8);
    // What a machine of yesterday called it is where it is, and no way leads on.
    fixture_append(store, "issues.7.issue.state.changed", "{\"from\":\"in_progress\",\"to\":\"parked\"}",
                   NULL);
    check_state(&at, NULL, "parked", 9);
    assert_status(store, move(&at, "", "review", NULL), DAYBOOK_EREFUSED);
    assert_non_null(strstr(store->error.message, "it is in 'parked', which machine 'issue' does not know"));
    daybook_machine_free(at.machine);
}

// Guards.

typedef struct asked {
    int count;
    daybook_status answer;
    const char *words;
} asked;

static daybook_status guard(void *context, const daybook_move *given, daybook_error *error) {
    asked *work = context;
    work->count++;
    assert_slice(given->from, "review");
    assert_slice(given->to, "closed");
    assert_slice(given->id, "7");
    assert_slice(given->actor, "ada");
    return work->words != NULL ? daybook_refuse(error, work->words) : work->answer;
}

static void a_guard_lets_pass_or_refuses(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    assert_ok(store, move(&at, "open", "in_progress", NULL));
    assert_ok(store, move(&at, "in_progress", "review", NULL));
    assert_status(store, move(&at, "review", "closed", NULL), DAYBOOK_EINVALID);
    assert_non_null(strstr(store->error.message, "guard 'is_tested'"));
    asked work = {.answer = DAYBOOK_EIO};
    assert_status(store, daybook_machine_set_guard(at.machine, "other", guard, &work, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_ok(store, daybook_machine_set_guard(at.machine, "is_tested", guard, &work, &store->error));
    assert_status(store, move(&at, "review", "closed", NULL), DAYBOOK_EREFUSED);
    assert_string_equal(store->error.message, "guard 'is_tested' refuses the way from 'review' to 'closed'");
    work.words = "two tests are red";
    assert_status(store, move(&at, "review", "closed", NULL), DAYBOOK_EREFUSED);
    assert_string_equal(store->error.message, "two tests are red");
    work.words = NULL;
    work.answer = DAYBOOK_OK;
    check_state(&at, NULL, "review", 2);
    assert_ok(store, move(&at, "review", "closed", NULL));
    assert_int_equal(work.count, 3);
    check_state(&at, NULL, "closed", 3);
    daybook_machine_free(at.machine);
}

static void who_has_no_guard_may_skip_it(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    fixture_append(store, "issues.7.issue.state.changed", "{\"from\":\"in_progress\",\"to\":\"review\"}",
                   NULL);
    daybook_move_options options;
    daybook_move_options_init(&options);
    options.skip_guards = 1;
    daybook_execute_result result;
    assert_ok(store, daybook_machine_move(at.machine, at.engine, TEXT("7"), TEXT("review"), TEXT("closed"),
                                          &options, &result, &store->error));
    assert_int_equal(result.version, 2);
    daybook_machine_free(at.machine);
}

static void data_joins_the_event(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    daybook_move_options options;
    daybook_move_options_init(&options);
    static const char *const bad[] = {"x", "[]", "7", "{\"to\":1}", "{\"reason\":null}", "{\"from\":\"a\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.data = daybook_text(bad[i]);
        assert_status(store,
                      daybook_machine_move(at.machine, at.engine, TEXT("7"), TEXT("open"), TEXT("rejected"),
                                           &options, NULL, &store->error),
                      DAYBOOK_EINVALID);
    }
    options.data = TEXT("{\"hours\":2,\"by\":{\"x\":[1]}}");
    assert_ok(store, daybook_machine_move(at.machine, at.engine, TEXT("7"), TEXT("open"), TEXT("rejected"),
                                          &options, NULL, &store->error));
    daybook_state *state = NULL;
    assert_ok(store, daybook_state_load(at.engine, TEXT("issues.7"), NULL, &state, &store->error));
    assert_string_equal(state->json,
                        "{\"from\":\"open\",\"to\":\"rejected\",\"hours\":2,\"by\":{\"x\":[1]}}");
    daybook_state_release(state);
    daybook_machine_free(at.machine);
}

typedef struct told {
    char text[512];
    int stop_after;
    int count;
} told;

static int note_change(void *context, const daybook_change *change) {
    told *all = context;
    size_t used = strlen(all->text);
    (void)snprintf(all->text + used, sizeof all->text - used, "%.*s>%.*s(%.*s,%.*s)%s ",
                   (int)change->from.size, (const char *)change->from.data, (int)change->to.size,
                   (const char *)change->to.data, (int)change->event->event.actor.size,
                   (const char *)change->event->event.actor.data, (int)change->reason.size,
                   (const char *)change->reason.data, change->is_declared ? "" : "?");
    return ++all->count == all->stop_after;
}

static void history_tells_the_moves(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    told all = {.text = ""};
    assert_status(store,
                  daybook_machine_history(at.machine, at.engine, TEXT("7"), note_change, &all, &store->error),
                  DAYBOOK_ENOTFOUND);
    fixture_append(store, "issues.7.created", "{}", NULL);
    assert_ok(store, move(&at, "open", "in_progress", "mine"));
    fixture_append(store, "issues.7.issue.state.changed", "{\"from\":\"in_progress\",\"to\":\"closed\"}",
                   NULL);
    assert_ok(store,
              daybook_machine_history(at.machine, at.engine, TEXT("7"), note_change, &all, &store->error));
    assert_string_equal(all.text, "open>in_progress(ada,mine) in_progress>closed(,)? ");
    told first = {.stop_after = 1};
    assert_ok(store,
              daybook_machine_history(at.machine, at.engine, TEXT("7"), note_change, &first, &store->error));
    assert_int_equal(first.count, 1);
    daybook_machine_free(at.machine);
}

// Threads: of those that see one state, one moves it.

enum { THREAD_COUNT = 6 };

static void *try_to_move(void *context) {
    const moving *at = context;
    daybook_status status = daybook_machine_move(at->machine, at->engine, TEXT("7"), TEXT("open"),
                                                 TEXT("in_progress"), NULL, NULL, NULL);
    return (void *)(intptr_t)(status == DAYBOOK_OK ? 1 : status == DAYBOOK_ECONFLICT ? 2 : 0);
}

static void one_of_many_moves_it(void **context) {
    fixture *store = *context;
    moving at = {.store = store, .engine = daybook_store_engine(store->store), .machine = make(store)};
    pthread_t threads[THREAD_COUNT];
    intptr_t counts[3] = {0, 0, 0};
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, try_to_move, &at), 0);
    for (int i = 0; i < THREAD_COUNT; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        counts[(intptr_t)result]++;
    }
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[2], THREAD_COUNT - 1);
    check_state(&at, NULL, "in_progress", 1);
    daybook_machine_free(at.machine);
}

// Declaring.

static void a_file_says_the_same_as_a_table(void **context) {
    fixture *store = *context;
    static const char json[] =
        "{\"machine\":\"issue\",\"category\":\"issues\",\"initial\":\"open\",\n"
        " \"states\":[\"in_progress\",\"open\",\"lost\"],\n"
        " \"transitions\":[{\"from\":\"open\",\"to\":\"in_progress\",\"event\":\"begun\",\"guard\":\"g\"}]}";
    daybook_machine *machine = NULL;
    assert_ok(store, daybook_machine_parse(TEXT(json), "f.json", &machine, &store->error));
    assert_slice(daybook_machine_name(machine), "issue");
    assert_slice(daybook_machine_category(machine), "issues");
    assert_int_equal(daybook_machine_state_count(machine), 3);
    assert_int_equal(daybook_machine_transition_count(machine), 1);
    const daybook_transition *way = daybook_machine_transition(machine, 0);
    assert_slice(way->from, "open");
    assert_slice(way->event, "begun");
    assert_slice(way->guard, "g");
    assert_null(daybook_machine_transition(machine, 1));
    daybook_machine_free(machine);
    daybook_machine_free(NULL);
}

static void a_wrong_file_is_refused_with_its_reason(void **context) {
    fixture *store = *context;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", "f.json: line 1, column 1: this is no JSON"},
        {"{\"machine\":\"a\",\n  x}", "f.json: line 2, column 3: this is no JSON"},
        {"[]", "f.json: the file is no JSON object"},
        {"{}", "without name"},
        {"{\"machine\":\"a\"}", "without category"},
        {"{\"machine\":\"a\",\"category\":\"a b\"}", "bad category 'a b'"},
        {"{\"machine\":\"a b\",\"category\":\"a\",\"initial\":\"x\"}", "bad event type 'a b.state.changed'"},
        {"{\"machine\":\"a\",\"category\":\"a\"}", "has no initial state"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"states\":[\"y\"]}", "'x' is not among"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"states\":[\"x\",\"x\"]}",
         "'x' is declared twice"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"states\":[\"x\",7]}",
         "state 2 is no text"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"states\":\"x\"}",
         "'states' of the file is no array"},
        {"{\"machine\":7}", "'machine' of the file is no text"},
        {"{\"machine\":\"a\",\"tranzitions\":[]}", "a member 'tranzitions'"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"transitions\":[7]}",
         "transition 1 is no JSON object"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"transitions\":[{\"form\":\"x\"}]}",
         "transition 1 has a member 'form'"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"states\":[\"x\"],"
         "\"transitions\":[{\"from\":\"x\",\"to\":\"y\"}]}",
         "transition 1 goes to 'y', which is no declared state"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"transitions\":[{\"from\":\"x\",\"to\":"
         "\"y\"},"
         "{\"from\":\"x\",\"to\":\"y\"}]}",
         "from 'x' to 'y' is declared twice"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\",\"transitions\":[{\"from\":\"x\",\"to\":"
         "\"y\","
         "\"event\":\"a b\"}]}",
         "bad event type 'a b'"},
        {"{\"machine\":\"a\",\"category\":\"a\",\"initial\":\"x\\n\"}", "bad state"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_machine *machine = NULL;
        assert_status(store,
                      daybook_machine_parse(daybook_text(cases[i].json), "f.json", &machine, &store->error),
                      DAYBOOK_EINVALID);
        assert_null(machine);
        if (strstr(store->error.message, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].json, store->error.message);
    }
}

static void note_warning(void *context, daybook_slice warning) {
    told *all = context;
    size_t used = strlen(all->text);
    (void)snprintf(all->text + used, sizeof all->text - used, "%.*s; ", (int)warning.size,
                   (const char *)warning.data);
}

static void what_is_probably_not_meant_is_said(void **context) {
    fixture *store = *context;
    daybook_machine *machine = make(store);
    told none = {.text = ""};
    daybook_machine_check(machine, note_warning, &none);
    assert_string_equal(none.text, "");
    daybook_machine_free(machine);
    const daybook_slice states[] = {TEXT("a"), TEXT("b"), TEXT("c")};
    const daybook_transition way = {TEXT("b"), TEXT("c"), TEXT(""), TEXT("")};
    daybook_machine_config config;
    declare(&config);
    config.initial = TEXT("a");
    config.states = states;
    config.state_count = 3;
    config.transitions = &way;
    config.transition_count = 1;
    assert_ok(store, daybook_machine_new(&config, &machine, &store->error));
    told all = {.text = ""};
    daybook_machine_check(machine, note_warning, &all);
    assert_string_equal(all.text,
                        "state 'b' cannot be reached from 'a'; state 'c' cannot be reached from 'a'; ");
    daybook_machine_free(machine);
}

static void a_machine_is_drawn(void **context) {
    fixture *store = *context;
    const daybook_transition way = {TEXT("a"), TEXT("b \"x\";"), TEXT("e"), TEXT("g")};
    daybook_machine_config config;
    daybook_machine_config_init(&config);
    config.name = TEXT("m");
    config.category = TEXT("m");
    config.initial = TEXT("a");
    config.transitions = &way;
    config.transition_count = 1;
    daybook_machine *machine = NULL;
    assert_ok(store, daybook_machine_new(&config, &machine, &store->error));
    char *text = NULL;
    assert_ok(store, daybook_machine_draw(machine, DAYBOOK_DRAWING_MERMAID, &text, &store->error));
    assert_string_equal(text, "stateDiagram-v2\n"
                              "    state \"a\" as s0\n"
                              "    state \"b #quot;x#quot;#59;\" as s1\n"
                              "    [*] --> s0\n"
                              "    s0 --> s1: e [g]\n"
                              "    s1 --> [*]\n");
    daybook_text_release(text);
    assert_ok(store, daybook_machine_draw(machine, DAYBOOK_DRAWING_DOT, &text, &store->error));
    assert_string_equal(text, "digraph \"m\" {\n"
                              "    rankdir=LR;\n"
                              "    node [shape=box, style=rounded];\n"
                              "    start [shape=point];\n"
                              "    s0 [label=\"a\"];\n"
                              "    s1 [label=\"b \\\"x\\\";\", peripheries=2];\n"
                              "    start -> s0;\n"
                              "    s0 -> s1 [label=\"e [g]\"];\n"
                              "}\n");
    daybook_text_release(text);
    assert_status(store, daybook_machine_draw(machine, 7, &text, &store->error), DAYBOOK_EINVALID);
    daybook_machine_free(machine);
}

int main(void) {
#define CASE(function) \
    { #function, function, add_issues, fixture_close, NULL }
    const struct CMUnitTest tests[] = {
        CASE(moves_follow_what_is_declared),
        CASE(the_core_of_an_engine_is_enough),
        CASE(a_refusal_names_every_way),
        CASE(other_events_do_not_move_it),
        CASE(a_guard_lets_pass_or_refuses),
        CASE(who_has_no_guard_may_skip_it),
        CASE(data_joins_the_event),
        CASE(history_tells_the_moves),
        CASE(one_of_many_moves_it),
        CASE(a_file_says_the_same_as_a_table),
        CASE(a_wrong_file_is_refused_with_its_reason),
        CASE(what_is_probably_not_meant_is_said),
        CASE(a_machine_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
