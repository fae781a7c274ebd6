// SPDX-License-Identifier: Apache-2.0
// Typed aggregates: loading, commands, conflicts, decisions over queries; on a store and on an engine that has the
// core alone.
#include <pthread.h>

#include "account.h"
#include "fixture.h"
#include "unit/engine/core_engine.h"

static const char one[] = "1";
#define ONE daybook_text(one)

typedef struct books {
    fixture *store;
    daybook_engine *engine;
    daybook_repository *accounts;
} books;

static books begin(fixture *store, daybook_engine *engine) {
    account_types_init();
    books of = {.store = store, .engine = engine};
    daybook_repository_options options;
    daybook_repository_options_init(&options);
    options.auto_stream = 1;
    assert_ok(store, daybook_repository_new(engine, &account_type, &options, &of.accounts, &store->error));
    return of;
}

static daybook_status run(books *of, daybook_decide decide, const account_command *command,
                          daybook_execute_result *result) {
    daybook_execute_result ignored;
    return daybook_execute(of->accounts, ONE, decide, command, NULL, result == NULL ? &ignored : result,
                           &of->store->error);
}

static void open_account(books *of) {
    const account_command command = {.owner = "ada"};
    assert_ok(of->store, run(of, account_open, &command, NULL));
}

static void pay(books *of, int64_t amount) {
    const account_command command = {.amount = amount};
    assert_ok(of->store, run(of, account_pay, &command, NULL));
}

static void check(books *of, const daybook_moment *moment, int64_t balance, uint64_t version) {
    daybook_aggregate *loaded = NULL;
    assert_ok(of->store, daybook_aggregate_load(of->accounts, ONE, moment, &loaded, &of->store->error));
    const account *state = daybook_aggregate_state(loaded);
    assert_int_equal(state->balance, balance);
    assert_string_equal(state->owner, "ada");
    assert_int_equal(daybook_aggregate_version(loaded), version);
    daybook_aggregate_release(loaded);
}

static void work_through_commands(fixture *store, daybook_engine *engine) {
    books of = begin(store, engine);
    daybook_aggregate *loaded = NULL;
    assert_status(store, daybook_aggregate_load(of.accounts, ONE, NULL, &loaded, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_null(loaded);
    account_command command = {.amount = 5};
    assert_status(store, run(&of, account_pay, &command, NULL), DAYBOOK_EREFUSED);
    assert_string_equal(store->error.message, "there is no such account");
    open_account(&of);
    command.event_count = 3;
    daybook_execute_result result;
    assert_ok(store, run(&of, account_pay, &command, &result));
    assert_int_equal(result.version, 4);
    assert_int_equal(result.seq, 4);
    assert_int_equal(result.event_count, 3);
    assert_int_equal(result.attempt_count, 1);
    check(&of, NULL, 15, 4);
    command.amount = -16;
    assert_status(store, run(&of, account_pay, &command, &result), DAYBOOK_EREFUSED);
    command.amount = 0;
    assert_ok(store, run(&of, account_pay, &command, &result));
    assert_int_equal(result.event_count, 0);
    assert_int_equal(result.version, 4);
    check(&of, NULL, 15, 4);
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = 2;
    check(&of, &moment, 5, 2);
    daybook_moment_init(&moment);
    moment.seq = 3;
    check(&of, &moment, 10, 3);
    moment.version = 1;
    assert_status(store, daybook_aggregate_load(of.accounts, ONE, &moment, &loaded, &store->error),
                  DAYBOOK_EINVALID);
    daybook_repository_info info;
    daybook_repository_get_info(of.accounts, &info);
    assert_int_equal(info.execute_count, 5);
    assert_int_equal(info.conflict_count, 0);
    daybook_repository_free(of.accounts);
}

static void commands_change_aggregates(void **context) {
    fixture *store = *context;
    work_through_commands(store, daybook_store_engine(store->store));
    books of = begin(store, daybook_store_engine(store->store));
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.known_at_ns = INT64_MAX - 1;
    check(&of, &moment, 15, 4);
    daybook_repository_free(of.accounts);
    fixture_reopen(store);
    of = begin(store, daybook_store_engine(store->store));
    check(&of, NULL, 15, 4);
    daybook_repository_free(of.accounts);
}

static void the_core_of_an_engine_is_enough(void **context) {
    fixture *store = *context;
    daybook_engine *core = core_engine_new(store->store);
    assert_non_null(core);
    work_through_commands(store, core);
    core_engine_free(core);
}

static void metadata_of_the_command_is_given_to_its_events(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    daybook_execute_options options;
    daybook_execute_options_init(&options);
    options.actor = daybook_text("bob");
    options.correlation = daybook_text("c1");
    options.causation = daybook_text("e1");
    const account_command command = {.owner = "ada"};
    assert_ok(store,
              daybook_execute(of.accounts, ONE, account_open, &command, &options, NULL, &store->error));
    daybook_query query;
    daybook_query_init(&query);
    query.correlation = daybook_text("c1");
    daybook_cursor *cursor = NULL;
    assert_ok(store, daybook_read(store->store, &query, &cursor, &store->error));
    daybook_recorded_event event;
    assert_ok(store, daybook_cursor_next(cursor, 0, &event, &store->error));
    assert_slice(event.event.subject, "accounts.1.opened");
    assert_slice(event.event.type, "opened");
    assert_slice(event.event.actor, "bob");
    assert_slice(event.event.causation, "e1");
    assert_slice(event.stream, "ACCOUNTS");
    daybook_cursor_close(cursor);
    daybook_repository_free(of.accounts);
}

// Conflicts: the decision is disturbed by another writer, `disturb_count` times.

typedef struct disturber {
    fixture *store;
    int disturb_count;
    const char *subject;
    uint64_t remove_seq; // instead of appending
} disturber;

static void disturb(void *context, int count) {
    disturber *work = context;
    if (count > work->disturb_count) return;
    if (work->remove_seq != 0)
        assert_ok(work->store, daybook_event_remove(work->store->store, daybook_text("ACCOUNTS"),
                                                    work->remove_seq, 0, &work->store->error));
    else
        fixture_append(work->store, work->subject, "100", NULL);
}

static void a_conflict_is_decided_anew_on_what_is_there_now(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    pay(&of, 10);
    int count = 0;
    disturber other = {.store = store, .disturb_count = 2, .subject = "accounts.1.paid"};
    // 200 is there only when both of the other's payments are seen.
    account_command command = {
        .amount = -210, .before = disturb, .context = &other, .decision_count = &count};
    daybook_execute_result result;
    assert_status(store, run(&of, account_pay, &command, &result), DAYBOOK_EREFUSED);
    check(&of, NULL, 110, 3);
    count = 0;
    command.amount = -50;
    assert_ok(store, run(&of, account_pay, &command, &result));
    assert_int_equal(result.attempt_count, 3);
    assert_int_equal(result.version, 6);
    check(&of, NULL, 260, 6);
    daybook_repository_info info;
    daybook_repository_get_info(of.accounts, &info);
    assert_int_equal(info.conflict_count, 2);
    daybook_repository_free(of.accounts);
}

static void others_events_do_not_disturb(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    int count = 0;
    disturber other = {.store = store, .disturb_count = 9, .subject = "accounts.11.paid"};
    const account_command command = {
        .amount = 1, .before = disturb, .context = &other, .decision_count = &count};
    assert_ok(store, run(&of, account_pay, &command, NULL));
    assert_int_equal(count, 1);
    daybook_repository_free(of.accounts);
}

static void a_removed_event_is_forgotten_before_deciding_anew(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    pay(&of, 10);
    int count = 0;
    disturber other = {.store = store, .disturb_count = 1, .remove_seq = 2};
    const account_command command = {
        .amount = -10, .before = disturb, .context = &other, .decision_count = &count};
    assert_status(store, run(&of, account_pay, &command, NULL), DAYBOOK_EREFUSED);
    assert_int_equal(count, 2);
    check(&of, NULL, 0, 1);
    daybook_repository_free(of.accounts);
}

static void conflicts_without_end_are_given_up(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    int count = 0;
    disturber other = {.store = store, .disturb_count = 1000, .subject = "accounts.1.paid"};
    const account_command command = {
        .amount = 1, .before = disturb, .context = &other, .decision_count = &count};
    assert_status(store, run(&of, account_pay, &command, NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(count, 9);
    assert_non_null(strstr(store->error.message, "decided 9 times"));
    assert_int_equal(store->error.actual, store->error.expected + 1);
    daybook_repository_free(of.accounts);
}

// Deciders that do it wrong.

static daybook_status other_aggregate(const void *state, const void *command, daybook_decision *decision,
                                      daybook_error *error) {
    (void)state;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(command);
    (void)daybook_decision_add_event(decision, &event, error); // Not looking must not matter.
    return DAYBOOK_OK;
}

static daybook_status no_type(const void *state, const void *command, daybook_decision *decision,
                              daybook_error *error) {
    (void)state;
    return daybook_decision_add(decision, command, daybook_bytes(NULL, 0), error);
}

static void wrong_decisions_append_nothing(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    static const char *const subjects[] = {"accounts.2.paid", "accounts.11.paid", "accounts.1",
                                           "accounts.1."};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        assert_status(
            store, daybook_execute(of.accounts, ONE, other_aggregate, subjects[i], NULL, NULL, &store->error),
            DAYBOOK_EINVALID);
    assert_status(store, daybook_execute(of.accounts, ONE, no_type, "", NULL, NULL, &store->error),
                  DAYBOOK_EINVALID);
    assert_status(store, daybook_execute(of.accounts, ONE, no_type, "a type", NULL, NULL, &store->error),
                  DAYBOOK_ESUBJECT);
    assert_ok(store, daybook_execute(of.accounts, ONE, other_aggregate, "accounts.1.noted", NULL, NULL,
                                     &store->error));
    check(&of, NULL, 0, 2);
    static const char *const ids[] = {"", "a.b", "*", "a b"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_status(
            store,
            daybook_execute(of.accounts, daybook_text(ids[i]), no_type, "x", NULL, NULL, &store->error),
            DAYBOOK_ESUBJECT);
    daybook_repository_free(of.accounts);
}

static void a_state_that_cannot_evolve_is_said(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    daybook_aggregate *loaded = NULL;
    fixture_append(store, "accounts.1.poison", "", NULL);
    assert_status(store, daybook_aggregate_load(of.accounts, ONE, NULL, &loaded, &store->error),
                  DAYBOOK_EREFUSED);
    assert_null(loaded);
    fixture_append(store, "accounts.2.strange", "", NULL);
    assert_status(store, daybook_aggregate_load(of.accounts, daybook_text("2"), NULL, &loaded, &store->error),
                  DAYBOOK_EMISUSE);
    assert_non_null(strstr(store->error.message, "evolve of category 'accounts' returned END"));
    daybook_repository_free(of.accounts);
}

typedef struct told {
    int64_t balances[8];
    unsigned count;
    unsigned stop_after;
} told;

static int note_state(void *context, const daybook_recorded_event *event, const void *state) {
    told *all = context;
    assert_int_equal(event->version, all->count + 1);
    all->balances[all->count++] = ((const account *)state)->balance;
    return all->count == all->stop_after;
}

static void history_visits_each_event_with_its_state(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    open_account(&of);
    for (int i = 1; i <= 3; i++) pay(&of, i);
    told all = {.stop_after = 0};
    assert_ok(store, daybook_aggregate_history(of.accounts, ONE, NULL, note_state, &all, &store->error));
    assert_int_equal(all.count, 4);
    assert_int_equal(all.balances[3], 6);
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = 3;
    told some = {.stop_after = 0};
    assert_ok(store, daybook_aggregate_history(of.accounts, ONE, &moment, note_state, &some, &store->error));
    assert_int_equal(some.count, 3);
    told first = {.stop_after = 1};
    assert_ok(store, daybook_aggregate_history(of.accounts, ONE, &moment, note_state, &first, &store->error));
    assert_int_equal(first.count, 1);
    assert_status(
        store,
        daybook_aggregate_history(of.accounts, daybook_text("9"), NULL, note_state, &all, &store->error),
        DAYBOOK_ENOTFOUND);
    daybook_repository_free(of.accounts);
}

// Decisions over a query: at most two students in a course.

static daybook_status count_student(void *state, void *context, const daybook_recorded_event *event,
                                    daybook_error *error) {
    (void)context;
    (void)event;
    (void)error;
    ++*(uint64_t *)state;
    return DAYBOOK_OK;
}

typedef struct subscription {
    const char *student;
    disturber *other;
    int *decision_count;
} subscription;

static daybook_status subscribe(const void *state, const void *command, daybook_decision *decision,
                                daybook_error *error) {
    const subscription *of = command;
    if (of->other != NULL && ++*of->decision_count <= of->other->disturb_count) {
        daybook_slice tag = daybook_text("course:7");
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(of->other->subject);
        event.tags = &tag;
        event.tag_count = 1;
        fixture_append_event(of->other->store, &event);
    }
    if (*(const uint64_t *)state >= 2) return daybook_refuse(error, "the course is full");
    char subject[64];
    (void)snprintf(subject, sizeof subject, "orders.%s.subscribed", of->student);
    daybook_slice tag = daybook_text("course:7");
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.tags = &tag;
    event.tag_count = 1;
    return daybook_decision_add_event(decision, &event, error);
}

static daybook_status try_subscribe(fixture *store, daybook_engine *engine, const subscription *command,
                                    daybook_execute_result *result) {
    daybook_aggregate_type type;
    daybook_aggregate_type_init(&type);
    type.state_size = sizeof(uint64_t);
    type.evolve = count_student;
    daybook_slice types[] = {daybook_text("subscribed")};
    daybook_slice tags[] = {daybook_text("course:7")};
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = types;
    item.type_count = 1;
    item.tags = tags;
    item.tag_count = 1;
    return daybook_execute_over(engine, &type, &item, 1, subscribe, command, NULL, result, &store->error);
}

static void a_decision_over_a_query_sees_what_matches_and_nothing_else(void **context) {
    fixture *store = *context;
    daybook_engine *engine = daybook_store_engine(store->store);
    daybook_execute_result result;
    const subscription first = {.student = "a"};
    assert_ok(store, try_subscribe(store, engine, &first, &result));
    assert_int_equal(result.attempt_count, 1);
    assert_int_equal(result.event_count, 1);
    int count = 0;
    // Another subscribes between look and append: one seat is left for the two.
    disturber other = {.store = store, .disturb_count = 1, .subject = "orders.b.subscribed"};
    const subscription late = {.student = "c", .other = &other, .decision_count = &count};
    assert_status(store, try_subscribe(store, engine, &late, &result), DAYBOOK_EREFUSED);
    assert_int_equal(result.attempt_count, 2);
    // What does not match does not disturb.
    count = 0;
    other.subject = "orders.b.left";
    assert_status(store, try_subscribe(store, engine, &late, &result), DAYBOOK_EREFUSED);
    assert_int_equal(result.attempt_count, 1);
    uint64_t stored = 0;
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice type = daybook_text("subscribed");
    query.types = &type;
    query.type_count = 1;
    assert_ok(store, daybook_count(store->store, &query, &stored, &store->error));
    assert_int_equal(stored, 2);
    // A stream is made only where that is asked for.
    daybook_aggregate_type any;
    daybook_aggregate_type_init(&any);
    any.state_size = sizeof(uint64_t);
    any.evolve = count_student;
    daybook_query_item all;
    daybook_query_item_init(&all);
    all.types = &type;
    all.type_count = 1;
    daybook_execute_options options;
    daybook_execute_options_init(&options);
    assert_status(store,
                  daybook_execute_over(engine, &any, &all, 1, other_aggregate, "new.1.made", &options, NULL,
                                       &store->error),
                  DAYBOOK_ENOSTREAM);
    options.auto_stream = 1;
    assert_ok(store, daybook_execute_over(engine, &any, &all, 1, other_aggregate, "new.1.made", &options,
                                          NULL, &store->error));
    daybook_engine *core = core_engine_new(store->store);
    assert_status(store, try_subscribe(store, core, &first, &result), DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(store->error.message, "a decision over a query needs"));
    core_engine_free(core);
}

// Threads on few aggregates, through two repositories, which do not wait for each other.

enum { THREAD_COUNT = 8, ROUND_COUNT = 40, ACCOUNT_COUNT = 3 };

typedef struct worker {
    daybook_repository *accounts;
    unsigned number;
    uint64_t given_up;
} worker;

static void *pay_all_the_time(void *context) {
    worker *work = context;
    const account_command command = {.amount = 1};
    for (unsigned i = 0; i < ROUND_COUNT; i++) {
        char id[2] = {(char)('1' + (i + work->number) % ACCOUNT_COUNT), '\0'};
        daybook_status status =
            daybook_execute(work->accounts, daybook_text(id), account_pay, &command, NULL, NULL, NULL);
        if (status == DAYBOOK_ECONFLICT)
            work->given_up++;
        else if (status != DAYBOOK_OK)
            return work;
    }
    return NULL;
}

static void no_update_is_lost_among_threads(void **context) {
    fixture *store = *context;
    daybook_engine *engine = daybook_store_engine(store->store);
    books of[2] = {begin(store, engine), begin(store, engine)};
    for (int i = 0; i < ACCOUNT_COUNT; i++) {
        char id[2] = {(char)('1' + i), '\0'};
        const account_command command = {.owner = "ada"};
        assert_ok(store, daybook_execute(of[0].accounts, daybook_text(id), account_open, &command, NULL, NULL,
                                         &store->error));
    }
    pthread_t threads[THREAD_COUNT];
    worker workers[THREAD_COUNT];
    for (unsigned i = 0; i < THREAD_COUNT; i++) {
        workers[i] = (worker){.accounts = of[i % 2].accounts, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, pay_all_the_time, &workers[i]), 0);
    }
    uint64_t expected = THREAD_COUNT * ROUND_COUNT;
    for (unsigned i = 0; i < THREAD_COUNT; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        expected -= workers[i].given_up;
    }
    uint64_t found = 0;
    for (int i = 0; i < ACCOUNT_COUNT; i++) {
        char id[2] = {(char)('1' + i), '\0'};
        daybook_aggregate *loaded = NULL;
        assert_ok(store,
                  daybook_aggregate_load(of[0].accounts, daybook_text(id), NULL, &loaded, &store->error));
        const account *state = daybook_aggregate_state(loaded);
        assert_int_equal(state->balance, state->payment_count);
        assert_int_equal(daybook_aggregate_version(loaded), state->payment_count + 1);
        found += state->payment_count;
        daybook_aggregate_release(loaded);
    }
    assert_int_equal(found, expected);
    for (int i = 0; i < 2; i++) daybook_repository_free(of[i].accounts);
}

static void threads_of_one_repository_take_turns(void **context) {
    fixture *store = *context;
    books of = begin(store, daybook_store_engine(store->store));
    for (int i = 0; i < ACCOUNT_COUNT; i++) {
        char id[2] = {(char)('1' + i), '\0'};
        const account_command command = {.owner = "ada"};
        assert_ok(store, daybook_execute(of.accounts, daybook_text(id), account_open, &command, NULL, NULL,
                                         &store->error));
    }
    pthread_t threads[THREAD_COUNT];
    worker workers[THREAD_COUNT];
    for (unsigned i = 0; i < THREAD_COUNT; i++) {
        workers[i] = (worker){.accounts = of.accounts, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, pay_all_the_time, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREAD_COUNT; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        assert_int_equal(workers[i].given_up, 0);
    }
    daybook_repository_info info;
    daybook_repository_get_info(of.accounts, &info);
    assert_int_equal(info.execute_count, ACCOUNT_COUNT + THREAD_COUNT * ROUND_COUNT);
    assert_int_equal(info.conflict_count, 0);
    daybook_repository_free(of.accounts);
}

static void misuse_is_said(void **context) {
    fixture *store = *context;
    daybook_engine *engine = daybook_store_engine(store->store);
    daybook_repository *accounts = NULL;
    account_types_init();
    daybook_aggregate_type type = account_type;
    type.evolve = NULL;
    assert_status(store, daybook_repository_new(engine, &type, NULL, &accounts, &store->error),
                  DAYBOOK_EMISUSE);
    type = account_type;
    type.category = daybook_bytes(NULL, 0);
    assert_status(store, daybook_repository_new(engine, &type, NULL, &accounts, &store->error),
                  DAYBOOK_EINVALID);
    daybook_snapshot_codec codec = account_codec;
    codec.schema = daybook_bytes(NULL, 0);
    type = account_type;
    type.codec = &codec;
    assert_status(store, daybook_repository_new(engine, &type, NULL, &accounts, &store->error),
                  DAYBOOK_EINVALID);
    assert_status(store, daybook_repository_new(NULL, &account_type, NULL, &accounts, &store->error),
                  DAYBOOK_EMISUSE);
    assert_status(store, daybook_repository_new(engine, &account_type, NULL, NULL, &store->error),
                  DAYBOOK_EMISUSE);
    assert_null(accounts);
    daybook_aggregate *loaded;
    assert_status(store, daybook_aggregate_load(NULL, ONE, NULL, &loaded, &store->error), DAYBOOK_EMISUSE);
    assert_status(store, daybook_execute(NULL, ONE, account_open, NULL, NULL, NULL, &store->error),
                  DAYBOOK_EMISUSE);
    daybook_repository_free(NULL);
    daybook_aggregate_release(NULL);
    daybook_repository_wait(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(commands_change_aggregates),
        FIXTURE_TEST(the_core_of_an_engine_is_enough),
        FIXTURE_TEST(metadata_of_the_command_is_given_to_its_events),
        FIXTURE_TEST(a_conflict_is_decided_anew_on_what_is_there_now),
        FIXTURE_TEST(others_events_do_not_disturb),
        FIXTURE_TEST(a_removed_event_is_forgotten_before_deciding_anew),
        FIXTURE_TEST(conflicts_without_end_are_given_up),
        FIXTURE_TEST(wrong_decisions_append_nothing),
        FIXTURE_TEST(a_state_that_cannot_evolve_is_said),
        FIXTURE_TEST(history_visits_each_event_with_its_state),
        FIXTURE_TEST(a_decision_over_a_query_sees_what_matches_and_nothing_else),
        FIXTURE_TEST(no_update_is_lost_among_threads),
        FIXTURE_TEST(threads_of_one_repository_take_turns),
        FIXTURE_TEST(misuse_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
