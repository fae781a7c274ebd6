// SPDX-License-Identifier: Apache-2.0
// An event is removed at the very moment a flush hands over what is removed of its tables to the new segment:
// the removal must be in the segment's list, too. In order:
//
//   flush           writes the manifest | hands removals over ........... | its view is the store's
//   removal         commits, held in the vfs ... | goes on, is applied    |
//
// Beside a merge the removal takes effect while the manifest is written.
//
// Where removals are applied under removal_lock the flush is through before; else the removal has looked up
// its source while the flush stands between both, which the linker lets us hold (--wrap).
#include <pthread.h>
#include <roaring/roaring.h>
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

enum { MANIFESTS_MAX = 16, LOOK_MS = 300 };

typedef enum step { BEGUN, FLUSHING, MANIFEST_IS_WRITTEN, REMOVAL_IS_WRITTEN, HANDS_OVER } step;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static step reached;
static pthread_t flusher, remover;
static daybook_file *manifests[MANIFESTS_MAX];
static size_t manifest_count;
static dbk_sim *sim;
static daybook_store *store;

static void reach(step at) {
    pthread_mutex_lock(&lock);
    if (reached < at) reached = at;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_for(step at) {
    pthread_mutex_lock(&lock);
    while (reached < at) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static bool is_at(step at, pthread_t thread) {
    pthread_mutex_lock(&lock);
    bool is = reached == at;
    pthread_mutex_unlock(&lock);
    return is && pthread_equal(thread, pthread_self());
}

// Of the merge: its segment is begun, and the next edit of the manifest is the one that names it.
static bool is_merging, has_begun_segment;

static int open_file(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    int result = dbk_sim_vfs(sim)->open(vfs, path, flags, file_out);
    if (result == 0 && strstr(path, "manifest") != NULL) {
        assert_true(manifest_count < MANIFESTS_MAX);
        manifests[manifest_count++] = *file_out;
    }
    if (strstr(path, "/segment-") != NULL && (flags & DAYBOOK_VFS_CREATE) != 0)
        has_begun_segment = is_merging;
    return result;
}

static bool is_manifest(const daybook_file *file) {
    for (size_t i = 0; i < manifest_count; i++) {
        if (manifests[i] == file) return true;
    }
    return false;
}

static void *remove_event(void *unused) {
    (void)unused;
    wait_for(MANIFEST_IS_WRITTEN);
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 1, 0, NULL), DAYBOOK_OK);
    return NULL;
}

static void *remove_beside_a_merge(void *unused) {
    (void)unused;
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 2, 0, NULL), DAYBOOK_OK);
    return NULL;
}

static int64_t write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                        uint64_t offset) {
    if (is_manifest(file) && has_begun_segment) {
        is_merging = has_begun_segment = false;
        assert_int_equal(pthread_create(&remover, NULL, remove_beside_a_merge, NULL), 0);
        assert_int_equal(pthread_join(remover, NULL), 0);
    } else if (is_manifest(file) && is_at(FLUSHING, flusher)) {
        reach(MANIFEST_IS_WRITTEN);
        wait_for(REMOVAL_IS_WRITTEN);
    } else if (is_at(MANIFEST_IS_WRITTEN, remover)) {
        reach(REMOVAL_IS_WRITTEN);
        wait_for(HANDS_OVER);
    }
    return dbk_sim_vfs(sim)->write_at(vfs, file, data, size, offset);
}

roaring_bitmap_t *__real_roaring_bitmap_andnot(const roaring_bitmap_t *a, const roaring_bitmap_t *b);
roaring_bitmap_t *__wrap_roaring_bitmap_andnot(const roaring_bitmap_t *a, const roaring_bitmap_t *b);

roaring_bitmap_t *__wrap_roaring_bitmap_andnot(const roaring_bitmap_t *a, const roaring_bitmap_t *b) {
    roaring_bitmap_t *since = __real_roaring_bitmap_andnot(a, b);
    if (is_at(REMOVAL_IS_WRITTEN, flusher)) {
        reach(HANDS_OVER);
        // Long enough for the removal to come to where it has to wait; if it is not, nothing is found amiss.
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    return since;
}

static void append(void) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    assert_int_equal(daybook_append(store, &event, 1, &options, NULL, NULL), DAYBOOK_OK);
}

static void what_is_removed_while_a_flush_takes_effect_stays_removed(void **state) {
    (void)state;
    assert_int_equal(dbk_sim_new(6, &sim), DAYBOOK_OK);
    daybook_vfs vfs = *dbk_sim_vfs(sim);
    vfs.open = open_file;
    vfs.write_at = write_at;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = &vfs;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    for (int i = 0; i < 3; i++) append();
    assert_int_equal(pthread_create(&remover, NULL, remove_event, NULL), 0);
    flusher = pthread_self();
    reach(FLUSHING);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    (void)pthread_join(remover, NULL);
    assert_int_equal(reached, HANDS_OVER);
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = 0;
    assert_int_equal(daybook_count(store, &query, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 2);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

static void what_is_removed_while_a_merge_takes_effect_stays_removed(void **state) {
    (void)state;
    manifest_count = 0;
    assert_int_equal(dbk_sim_new(7, &sim), DAYBOOK_OK);
    daybook_vfs vfs = *dbk_sim_vfs(sim);
    vfs.open = open_file;
    vfs.write_at = write_at;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = &vfs;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    for (int i = 0; i < 3; i++) append();
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    is_merging = true; // to erase, the segment is rewritten
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 1, 1, NULL), DAYBOOK_OK);
    assert_false(is_merging);
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = 0;
    assert_int_equal(daybook_count(store, &query, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 1);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_removed_while_a_flush_takes_effect_stays_removed),
        cmocka_unit_test(what_is_removed_while_a_merge_takes_effect_stays_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
