// SPDX-License-Identifier: Apache-2.0
// An issue tracker: two state machines, issues and the executions of their tests; a guard that lets an issue
// be closed only after its tests have passed; and a subscriber who hears of each change. The guide:
// docs/guide/state-machines.md.
//
//     cc issues.c $(pkg-config --cflags --libs daybook-toolkit) -pthread
//     ./a.out tracker     (a directory; it is created. Without: a store in memory)
#include <daybook/daybook.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// The machines, as tables. daybook machine draws the same from a JSON file.

static const daybook_transition issue_ways[] = {
    {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("in_progress"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("open"), DAYBOOK_TEXT("rejected"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("in_progress"), DAYBOOK_TEXT("in_review"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("in_review"), DAYBOOK_TEXT("in_progress"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("in_review"), DAYBOOK_TEXT("closed"), {NULL, 0}, DAYBOOK_TEXT("tests_passed")},
};

static const daybook_transition execution_ways[] = {
    {DAYBOOK_TEXT("queued"), DAYBOOK_TEXT("running"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("running"), DAYBOOK_TEXT("passed"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("running"), DAYBOOK_TEXT("failed"), {NULL, 0}, {NULL, 0}},
    {DAYBOOK_TEXT("failed"), DAYBOOK_TEXT("queued"), {NULL, 0}, {NULL, 0}},
};

typedef struct tracker {
    daybook_store *store;
    daybook_engine *engine;
    daybook_machine *issues;
    daybook_machine *executions;
    daybook_error error;
} tracker;

static daybook_status declare(const char *name, const char *category, const char *initial,
                              const daybook_transition *ways, size_t count, daybook_machine **machine_out,
                              daybook_error *error) {
    daybook_machine_config config;
    daybook_machine_config_init(&config);
    config.name = daybook_text(name);
    config.category = daybook_text(category);
    config.initial = daybook_text(initial);
    config.transitions = ways;
    config.transition_count = count;
    return daybook_machine_new(&config, machine_out, error);
}

// The guard: the execution that bears the issue's number must have passed.

static daybook_status tests_passed(void *context, const daybook_move *move, daybook_error *error) {
    tracker *of = context;
    char state[DAYBOOK_TEXT_SIZE_MAX + 1];
    daybook_status status =
        daybook_machine_state(of->executions, of->engine, move->id, NULL, state, NULL, error);
    if (status == DAYBOOK_ENOTFOUND) return daybook_refuse(error, "its tests never ran");
    if (status != DAYBOOK_OK) return status;
    return strcmp(state, "passed") == 0 ? DAYBOOK_OK : daybook_refuse(error, "its tests did not pass");
}

static daybook_status begin(tracker *of) {
    daybook_error_init(&of->error);
    of->engine = daybook_store_engine(of->store);
    daybook_status status = declare("issue", "issues", "open", issue_ways,
                                    sizeof issue_ways / sizeof issue_ways[0], &of->issues, &of->error);
    if (status == DAYBOOK_OK)
        status = declare("execution", "executions", "queued", execution_ways,
                         sizeof execution_ways / sizeof execution_ways[0], &of->executions, &of->error);
    if (status == DAYBOOK_OK)
        status = daybook_machine_set_guard(of->issues, "tests_passed", tests_passed, of, &of->error);
    return status;
}

// Moving, by a worker who says what the answer was.

static daybook_status move(tracker *of, const daybook_machine *machine, const char *id, const char *from,
                           const char *to, const char *actor, const char *reason) {
    daybook_move_options options;
    daybook_move_options_init(&options);
    options.actor = daybook_text(actor);
    options.reason = daybook_text(reason);
    options.correlation = daybook_text("sprint-12");
    options.auto_stream = 1;
    daybook_status status = daybook_machine_move(machine, of->engine, daybook_text(id), daybook_text(from),
                                                 daybook_text(to), &options, NULL, &of->error);
    if (status != DAYBOOK_EREFUSED && status != DAYBOOK_ECONFLICT) return status;
    printf("no: %s\n", of->error.message);
    return DAYBOOK_OK;
}

static daybook_status work(tracker *of) {
    const struct step {
        const daybook_machine *machine;
        const char *from, *to, *actor, *reason;
    } steps[] = {
        {of->issues, "open", "in_progress", "ada", "I know this one"},
        {of->issues, "open", "rejected", "bob", "nobody needs it"}, // ada was first
        {of->issues, "in_progress", "closed", "ada", "done"},       // no such way
        {of->issues, "in_progress", "in_review", "ada", "please look"},
        {of->issues, "in_review", "closed", "bob", "fine"}, // the guard
        {of->executions, "queued", "running", "robot", "nightly"},
        {of->executions, "running", "failed", "robot", "2 of 40"},
        {of->issues, "in_review", "closed", "bob", "fine"}, // the guard again
        {of->executions, "failed", "queued", "robot", "again"},
        {of->executions, "queued", "running", "robot", "again"},
        {of->executions, "running", "passed", "robot", "40 of 40"},
        {of->issues, "in_review", "closed", "bob", "fine"},
    };
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < sizeof steps / sizeof steps[0]; i++)
        status = move(of, steps[i].machine, "7", steps[i].from, steps[i].to, steps[i].actor, steps[i].reason);
    return status;
}

// The subscriber follows the changes of all issues and executions, whoever makes them, from the first on: he
// misses none, also where he comes late. He ends when issues.7 is closed.

typedef struct subscriber {
    daybook_store *store;
    char told[2048];
} subscriber;

static int note(subscriber *to, const daybook_recorded_event *event) {
    size_t used = strlen(to->told);
    (void)snprintf(to->told + used, sizeof to->told - used, "  %.*s: %.*s\n", (int)event->aggregate.size,
                   (const char *)event->aggregate.data, (int)event->event.data.size,
                   (const char *)event->event.data.data);
    return strstr(to->told + used, "\"to\":\"closed\"") != NULL;
}

static void *follow(void *context) {
    subscriber *to = context;
    const daybook_slice filters[] = {daybook_text("issues.*.issue.state.changed"),
                                     daybook_text("executions.*.execution.state.changed")};
    daybook_query query;
    daybook_query_init(&query);
    query.filters = filters;
    query.filter_count = 2;
    query.flags = DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor = NULL;
    if (daybook_read(to->store, &query, &cursor, NULL) != DAYBOOK_OK) return NULL;
    daybook_recorded_event event;
    while (daybook_cursor_next(cursor, 30000, &event, NULL) == DAYBOOK_OK)
        if (note(to, &event)) break;
    daybook_cursor_close(cursor);
    return NULL;
}

static int show_change(void *context, const daybook_change *change) {
    (void)context;
    printf("  %.*s to %.*s by %.*s: %.*s\n", (int)change->from.size, (const char *)change->from.data,
           (int)change->to.size, (const char *)change->to.data, (int)change->event->event.actor.size,
           (const char *)change->event->event.actor.data, (int)change->reason.size,
           (const char *)change->reason.data);
    return 0;
}

static daybook_status run(tracker *of) {
    daybook_status status = begin(of);
    if (status != DAYBOOK_OK) return status;
    subscriber to = {.store = of->store};
    pthread_t thread;
    if (pthread_create(&thread, NULL, follow, &to) != 0) return DAYBOOK_ENOMEM;
    status = work(of);
    (void)pthread_join(thread, NULL);
    printf("the subscriber heard:\n%shistory of issues.7:\n", to.told);
    if (status == DAYBOOK_OK)
        status =
            daybook_machine_history(of->issues, of->engine, daybook_text("7"), show_change, NULL, &of->error);
    return status;
}

int main(int count, char **arguments) {
    tracker of;
    memset(&of, 0, sizeof of);
    daybook_status status = daybook_open(count > 1 ? arguments[1] : ":memory:", NULL, &of.store, NULL);
    if (status == DAYBOOK_OK) status = run(&of);
    if (status != DAYBOOK_OK) fprintf(stderr, "%s: %s\n", daybook_status_name(status), of.error.message);
    daybook_machine_free(of.issues);
    daybook_machine_free(of.executions);
    daybook_status closed = daybook_close(of.store, NULL);
    return status == DAYBOOK_OK && closed == DAYBOOK_OK ? 0 : 1;
}
