// SPDX-License-Identifier: Apache-2.0
// Closing: while it flushes, which leaves no file behind that the manifest does not name; and where limits could
// not be enforced, or what enforces them not be written.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { CLOSE_MS = 300 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_named, is_closing;
static dbk_sim *sim;

static void say(bool *what) {
    pthread_mutex_lock(&lock);
    *what = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_for(const bool *what) {
    pthread_mutex_lock(&lock);
    while (!*what) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

// The flush goes on once the store is closing and takes no commits any more.
static int rename_file(daybook_vfs *vfs, const char *from, const char *to) {
    int result = dbk_sim_vfs(sim)->rename(vfs, from, to);
    if (strstr(to, "segment-") == NULL) return result;
    say(&is_named);
    wait_for(&is_closing);
    (void)nanosleep(&(struct timespec){.tv_nsec = CLOSE_MS * 1000000L}, NULL);
    return result;
}

static int count_segment(void *context, const daybook_vfs_entry *entry) {
    if (strncmp(entry->name, "segment-", 8) == 0) ++*(uint64_t *)context;
    return 0;
}

static daybook_store *open_store(daybook_vfs *vfs, unsigned flags) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = vfs;
    options.flags = flags;
    options.memtable_bytes = 256 << 10;
    options.journal_max_bytes = 4 << 20;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    return store;
}

static void a_flush_cut_short_by_closing_leaves_no_file(void **state) {
    (void)state;
    assert_int_equal(dbk_sim_new(8, &sim), DAYBOOK_OK);
    daybook_vfs vfs = *dbk_sim_vfs(sim);
    vfs.rename = rename_file;
    daybook_store *store = open_store(&vfs, 0);
    static char data[300 << 10];
    memset(data, 'd', sizeof data);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");
    event.data = daybook_bytes(data, sizeof data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    assert_int_equal(daybook_append(store, &event, 1, &options, NULL, NULL), DAYBOOK_OK);
    wait_for(&is_named);
    say(&is_closing);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    uint64_t files = 0;
    assert_int_equal(dbk_sim_vfs(sim)->list(dbk_sim_vfs(sim), "/s", count_segment, &files), 0);
    store = open_store(dbk_sim_vfs(sim), DAYBOOK_OPEN_READ_ONLY);
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(store, &info, NULL), DAYBOOK_OK);
    assert_int_equal(files, info.segment_count);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

// ---- Limits that an update made tighter --------------------------------------------------------------------

static void configure(daybook_stream_config *config, daybook_slice *subjects, uint64_t max_msgs) {
    daybook_stream_config_init(config);
    *subjects = daybook_text("orders.>");
    config->name = daybook_text("ORDERS");
    config->subjects = subjects;
    config->subject_count = 1;
    config->max_msgs = max_msgs;
}

static daybook_store *begin_with_events(unsigned count) {
    assert_int_equal(dbk_sim_new(9, &sim), DAYBOOK_OK);
    daybook_store *store = open_store(dbk_sim_vfs(sim), DAYBOOK_OPEN_NO_BACKGROUND);
    daybook_stream_config config;
    daybook_slice subjects;
    configure(&config, &subjects, 0);
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
    for (unsigned i = 0; i < count; i++) {
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text("orders.1.placed");
        assert_int_equal(daybook_append(store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
    }
    return store;
}

static uint64_t message_count(daybook_store *store) {
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("ORDERS"), &info, NULL), DAYBOOK_OK);
    uint64_t count = info->message_count;
    daybook_stream_info_release(store, info);
    return count;
}

// What limits removed is not written yet when the disk fails: closing says so, and nothing is lost.
static void closing_tells_that_the_journal_failed(void **state) {
    (void)state;
    daybook_store *store = begin_with_events(9);
    daybook_stream_config config;
    daybook_slice subjects;
    configure(&config, &subjects, 3);
    assert_int_equal(daybook_stream_update(store, &config, NULL), DAYBOOK_OK);
    assert_int_equal(message_count(store), 3);
    dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_close(store, &error), DAYBOOK_EUNCERTAIN);
    assert_non_null(strstr(error.message, "nothing acknowledged is lost"));
    dbk_sim_clear_faults(sim);
    store = open_store(dbk_sim_vfs(sim), DAYBOOK_OPEN_NO_BACKGROUND);
    assert_int_equal(message_count(store), 3);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

// The update is durable, a read of what it has to remove fails: it is told, and made good by itself.
static void an_update_whose_limits_cannot_be_enforced_says_so(void **state) {
    (void)state;
    daybook_store *store = begin_with_events(9);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    store = open_store(dbk_sim_vfs(sim), DAYBOOK_OPEN_NO_BACKGROUND); // with an empty cache
    dbk_sim_fault fault = {
        .kind = DBK_SIM_READ, .suffix = ".dbs", .nth = 1, .is_forever = true, .error = EIO};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    daybook_stream_config config;
    daybook_slice subjects;
    configure(&config, &subjects, 0);
    config.max_msgs_per_subject = 3;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_stream_update(store, &config, &error);
    assert_true(status == DAYBOOK_EIO || status == DAYBOOK_EDAMAGED);
    assert_non_null(strstr(error.message, "is changed"));
    dbk_sim_clear_faults(sim);
    status = DAYBOOK_OK;
    for (int i = 0; i < 10 && status == DAYBOOK_OK; i++) status = daybook_maintain(store, NULL);
    assert_int_equal(status, DAYBOOK_END);
    assert_int_equal(message_count(store), 3);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flush_cut_short_by_closing_leaves_no_file),
        cmocka_unit_test(closing_tells_that_the_journal_failed),
        cmocka_unit_test(an_update_whose_limits_cannot_be_enforced_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
