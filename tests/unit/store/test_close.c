// SPDX-License-Identifier: Apache-2.0
// A store that is closed while it flushes leaves no file behind that its manifest does not name.
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_flush_cut_short_by_closing_leaves_no_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
