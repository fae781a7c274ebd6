// SPDX-License-Identifier: Apache-2.0
// Several instances of which one is in charge, pausing, and checkpoints that somebody else moves.
#include "read_model.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int has_report(model *at, const char *text) {
    pthread_mutex_lock(&at->report_lock);
    int has = strstr(at->reports, text) != NULL;
    pthread_mutex_unlock(&at->report_lock);
    return has;
}

static daybook_read_model *open_model(model *at) {
    daybook_read_model *read_model;
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    return read_model;
}

static void a_second_one_is_refused(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    model_run(at, NULL, DAYBOOK_ELOCKED);
    assert_non_null(strstr(at->error.message, "order_totals"));
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_run(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
}

static void a_handle_is_run_once_at_a_time(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    assert_model(at, daybook_projection_run(projection, 0, &at->error), DAYBOOK_EMISUSE);
    assert_model(at, daybook_projection_rebuild(projection, &at->error), DAYBOOK_EMISUSE);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
}

static void a_waiting_one_takes_over(void **context) {
    model *at = *context;
    model_thread first, second;
    daybook_projection *active = model_projection(at, NULL);
    daybook_projection *idle = model_projection(at, NULL);
    daybook_projection_info info;
    model_append_many(at, 100, 10);
    model_start(at, &first, active, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, active);
    model_start(at, &second, idle, DAYBOOK_PROJECTION_FOLLOW | DAYBOOK_PROJECTION_WAIT);
    wait_until(has_report(at, "waiting for its place"));
    daybook_projection_get_info(idle, &info);
    assert_false(info.is_active);
    assert_model_ok(at, model_stop(&first));
    model_append_many(at, 50, 5);
    model_wait_caught_up(at, idle);
    assert_true(has_report(at, "took over projection 'order_totals' at position 100"));
    assert_model_ok(at, model_stop(&second));
    daybook_projection_get_info(idle, &info);
    assert_string_equal(model_ask(at, "SELECT instance FROM daybook_projection"), info.instance);
    daybook_projection_free(active);
    daybook_projection_free(idle);
    assert_asks(at, "SELECT position FROM daybook_projection", "150");
}

static void waiting_can_be_interrupted(void **context) {
    model *at = *context;
    model_thread first, second;
    daybook_projection *active = model_projection(at, NULL);
    daybook_projection *idle = model_projection(at, NULL);
    model_start(at, &first, active, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, active);
    model_start(at, &second, idle, DAYBOOK_PROJECTION_FOLLOW | DAYBOOK_PROJECTION_WAIT);
    wait_until(has_report(at, "waiting for its place"));
    assert_model_ok(at, model_stop(&second));
    assert_model_ok(at, model_stop(&first));
    daybook_projection_free(active);
    daybook_projection_free(idle);
}

// Another process in charge, with a store of its own that is empty: this program once more (main).
static pid_t start_process(model *at) {
    pid_t child;
    char program[] = "test_projection_instances", option[] = "--run";
    char *arguments[] = {program, option, at->database, NULL};
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    return child;
}

static int run_as_process(const char *database) {
    daybook_store *store;
    daybook_projection_definition definition;
    daybook_projection *projection;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(model_sql);
    if (daybook_open(":memory:", NULL, &store, NULL) != DAYBOOK_OK) return 2;
    if (daybook_projection_new(daybook_store_engine(store), &definition, database, NULL, &projection, NULL) !=
        DAYBOOK_OK)
        return 3;
    return daybook_projection_run(projection, DAYBOOK_PROJECTION_FOLLOW, NULL) == DAYBOOK_OK ? 0 : 4;
}

static void the_place_of_a_killed_process_is_taken_at_once(void **context) {
    model *at = *context;
    model_thread thread;
    pid_t child = start_process(at);
    wait_until(access(at->path, F_OK) == 0 &&
               strcmp(model_ask(at, "SELECT count(*) FROM daybook_projection"), "1") == 0);
    model_append_many(at, 100, 10);
    model_run(at, NULL, DAYBOOK_ELOCKED);
    daybook_projection *projection = model_projection(at, NULL);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW | DAYBOOK_PROJECTION_WAIT);
    wait_until(has_report(at, "waiting for its place"));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    model_wait_caught_up(at, projection);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void pausing_stops_it_until_it_is_resumed(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection_info info;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    daybook_read_model *read_model = open_model(at);
    assert_model_ok(at, daybook_read_model_pause(read_model, "order_totals", &at->error));
    wait_until((daybook_projection_get_info(projection, &info), info.state == DAYBOOK_PROJECTION_PAUSED));
    model_append_many(at, 50, 5);
    for (int i = 0; i < 30; i++) model_nap();
    assert_asks(at, "SELECT position FROM daybook_projection", "100");
    assert_model_ok(at, daybook_read_model_resume(read_model, "order_totals", &at->error));
    model_wait_caught_up(at, projection);
    assert_asks(at, "SELECT position FROM daybook_projection", "150");
    assert_true(has_report(at, "was paused"));
    assert_true(has_report(at, "was resumed"));
    assert_model(at, daybook_read_model_pause(read_model, "nobody", &at->error), DAYBOOK_ENOTFOUND);
    assert_model_ok(at, model_stop(&thread));
    daybook_read_model_close(read_model);
    daybook_projection_free(projection);
}

static void a_paused_one_says_so_instead_of_running_once(void **context) {
    model *at = *context;
    model_run(at, NULL, DAYBOOK_OK);
    daybook_read_model *read_model = open_model(at);
    assert_model_ok(at, daybook_read_model_pause(read_model, "order_totals", &at->error));
    daybook_read_model_close(read_model);
    model_run(at, NULL, DAYBOOK_EREFUSED);
    assert_non_null(strstr(at->error.message, "resume"));
}

static void a_running_one_cannot_be_dropped(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    daybook_read_model *read_model = open_model(at);
    assert_model(at, daybook_read_model_drop(read_model, "order_totals", &at->error), DAYBOOK_ELOCKED);
    daybook_read_model_close(read_model);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
}

static void a_checkpoint_that_was_moved_is_followed_not_overwritten(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    model_execute(at, "BEGIN IMMEDIATE; UPDATE daybook_projection SET position = 0, event_count = 0; DELETE "
                      "FROM order_totals;"
                      " COMMIT");
    model_append(at, "orders.500.placed", "{\"customer\":\"c\"}");
    wait_until(strcmp(model_ask(at, "SELECT position FROM daybook_projection"), "101") == 0);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "101");
    model_compare_with_fold(at);
}

static void another_name_in_the_row_is_fenced_off(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    model_execute(at, "UPDATE daybook_projection SET instance = 'somebody else'");
    model_append(at, "orders.500.placed", "{\"customer\":\"c\"}");
    model_wait_caught_up(at, projection);
    assert_true(has_report(at, "another instance is in charge"));
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void two_rebuilds_at_a_time_are_refused(void **context) {
    model *at = *context;
    char path[256];
    model_append_many(at, 10, 2);
    model_run(at, NULL, DAYBOOK_OK);
    // What a rebuild holds.
    snprintf(path, sizeof path, "%s-rebuild-lock-order_totals", at->path);
    daybook_vfs *vfs = daybook_vfs_posix();
    daybook_file *file;
    assert_int_equal(vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
    assert_int_equal(vfs->lock(vfs, file), 0);
    daybook_projection *projection = model_projection(at, NULL);
    assert_model(at, daybook_projection_rebuild(projection, &at->error), DAYBOOK_ELOCKED);
    vfs->close(vfs, file);
    assert_model_ok(at, daybook_projection_rebuild(projection, &at->error));
    daybook_projection_free(projection);
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(int argument_count, char **arguments) {
    if (argument_count == 3 && strcmp(arguments[1], "--run") == 0) return run_as_process(arguments[2]);
    const struct CMUnitTest tests[] = {
        MODEL_TEST(the_place_of_a_killed_process_is_taken_at_once),
        MODEL_TEST(a_second_one_is_refused),
        MODEL_TEST(a_handle_is_run_once_at_a_time),
        MODEL_TEST(a_waiting_one_takes_over),
        MODEL_TEST(waiting_can_be_interrupted),
        MODEL_TEST(pausing_stops_it_until_it_is_resumed),
        MODEL_TEST(a_paused_one_says_so_instead_of_running_once),
        MODEL_TEST(a_running_one_cannot_be_dropped),
        MODEL_TEST(a_checkpoint_that_was_moved_is_followed_not_overwritten),
        MODEL_TEST(another_name_in_the_row_is_fenced_off),
        MODEL_TEST(two_rebuilds_at_a_time_are_refused),
    };
    return cmocka_run_group_tests_name("projection/instances", tests, NULL, NULL);
}
