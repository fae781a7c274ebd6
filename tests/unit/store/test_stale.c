// SPDX-License-Identifier: Apache-2.0
// An append is resolved against the segments before it queues. What is removed while it waits must not be
// part of the answer: the leader has it resolved again. A gate in front of the journal holds the group ahead
// while the removal and the append queue behind it, in this order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <pthread.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/commit_internal.h"

static struct gate {
    daybook_vfs *inner;
    daybook_file *journal;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_shut;
    bool is_waited_at;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int gate_open(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    (void)vfs;
    int result = gate.inner->open(gate.inner, path, flags, file_out);
    size_t size = strlen(path);
    bool is_journal = size > 8 && strcmp(path + size - 8, "/journal") == 0;
    if (result == 0 && is_journal && (flags & DAYBOOK_VFS_SYNC) != 0) gate.journal = *file_out;
    return result;
}

static int64_t gate_write(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                          uint64_t offset) {
    (void)vfs;
    if (file == gate.journal) {
        pthread_mutex_lock(&gate.lock);
        while (gate.is_shut) {
            gate.is_waited_at = true;
            pthread_cond_broadcast(&gate.changed);
            pthread_cond_wait(&gate.changed, &gate.lock);
        }
        pthread_mutex_unlock(&gate.lock);
    }
    return gate.inner->write_at(gate.inner, file, data, size, offset);
}

static void shut_gate(void) {
    pthread_mutex_lock(&gate.lock);
    gate.is_shut = true;
    gate.is_waited_at = false;
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void) {
    pthread_mutex_lock(&gate.lock);
    gate.is_shut = false;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void wait_at_gate(void) {
    pthread_mutex_lock(&gate.lock);
    while (!gate.is_waited_at) pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void wait_for_queued(daybook_store *store, unsigned count) {
    for (unsigned queued = 0; queued < count;) {
        struct timespec moment = {.tv_nsec = 1000000};
        (void)nanosleep(&moment, NULL);
        queued = 0;
        pthread_mutex_lock(&store->commit->queue_lock);
        for (dbk_operation *at = store->commit->head; at != NULL; at = at->next) queued++;
        pthread_mutex_unlock(&store->commit->queue_lock);
    }
}

typedef struct task {
    daybook_store *store;
    daybook_status (*act)(daybook_store *store);
    daybook_status status;
    pthread_t thread;
} task;

static void *run_task(void *context) {
    task *at = context;
    at->status = at->act(at->store);
    return NULL;
}

static void start(task *at, daybook_store *store, daybook_status (*act)(daybook_store *store)) {
    *at = (task){.store = store, .act = act};
    assert_int_equal(pthread_create(&at->thread, NULL, run_task, at), 0);
}

static daybook_status append_to(daybook_store *store, const char *subject, const char *id,
                                const daybook_condition *condition) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.id = daybook_text(id);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    options.conditions = condition;
    options.condition_count = condition != NULL;
    return daybook_append(store, &event, 1, &options, NULL, NULL);
}

static daybook_status append_ahead(daybook_store *store) {
    return append_to(store, "other.b.c", "", NULL);
}

static daybook_status remove_first(daybook_store *store) {
    return daybook_event_remove(store, daybook_text("A"), 1, 0, NULL);
}

static daybook_status purge_all(daybook_store *store) {
    return daybook_stream_purge(store, daybook_text("A"), NULL, NULL, NULL);
}

static daybook_status append_where_none(daybook_store *store) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    return append_to(store, "a.b.c", "", &condition);
}

static daybook_status append_unless_matched(daybook_store *store) {
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.filter = daybook_text("a.b.*");
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = &item;
    condition.item_count = 1;
    return append_to(store, "a.b.c", "", &condition);
}

// Queue `removal`, then `append`, behind a group on its way; both must succeed.
static void check_order(daybook_status (*removal)(daybook_store *store),
                        daybook_status (*append)(daybook_store *store)) {
    dbk_sim *sim = NULL;
    assert_int_equal(dbk_sim_new(1, &sim), DAYBOOK_OK);
    gate.inner = dbk_sim_vfs(sim);
    daybook_vfs vfs = *gate.inner;
    vfs.open = gate_open;
    vfs.write_at = gate_write;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = &vfs;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    assert_int_equal(append_to(store, "a.b.c", "one", NULL), DAYBOOK_OK);
    assert_int_equal(append_ahead(store), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    // It holds while the event is there.
    assert_int_equal(append(store), DAYBOOK_ECONFLICT);

    task ahead;
    task remover;
    task appender;
    shut_gate();
    start(&ahead, store, append_ahead);
    wait_at_gate();
    start(&remover, store, removal);
    wait_for_queued(store, 1);
    start(&appender, store, append);
    wait_for_queued(store, 2);
    open_gate();
    pthread_join(ahead.thread, NULL);
    pthread_join(remover.thread, NULL);
    pthread_join(appender.thread, NULL);
    assert_int_equal(ahead.status, DAYBOOK_OK);
    assert_int_equal(remover.status, DAYBOOK_OK);
    assert_int_equal(appender.status, DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

static void a_condition_does_not_see_what_was_removed_before_it(void **state) {
    (void)state;
    check_order(remove_first, append_where_none);
    check_order(remove_first, append_unless_matched);
    check_order(purge_all, append_where_none);
    check_order(purge_all, append_unless_matched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_condition_does_not_see_what_was_removed_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
