// SPDX-License-Identifier: Apache-2.0
// More appending threads than one group's leader can wait for: who sleeps is woken, whoever leads, beside
// submitted appends, alone and in bundles, rotations and changes of the catalogue. On the real vfs with a slow device, so that many
// wait at any time, in a folder of its own below the working directory.
#define _POSIX_C_SOURCE 200809L // mkdtemp, nanosleep

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"

enum {
    WRITER_COUNT = 32,
    APPENDS_EACH = 60,
    SUBMITTED_COUNT = 400,
    BUNDLER_COUNT = 3,
    BUNDLES_EACH = 40,
    BUNDLE_SIZE = 7,
    BUNDLED_COUNT = BUNDLER_COUNT * BUNDLES_EACH * BUNDLE_SIZE,
    STREAMS_ADDED = 10,
    DEVICE_NS = 300000,
    EVENT_COUNT = WRITER_COUNT * APPENDS_EACH + SUBMITTED_COUNT + BUNDLED_COUNT,
};

static daybook_store *store;
static atomic_uint failure_count, completed_count;
static atomic_uchar seen[EVENT_COUNT + 1]; // by position
static uint64_t completed_position; // no lock: one thread at a time calls completions, in the order of commit

static int64_t slow_write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                             uint64_t offset) {
    daybook_vfs *real = daybook_vfs_posix();
    struct timespec pause = {.tv_nsec = DEVICE_NS};
    if (real->is_direct(vfs, file) != 0) (void)nanosleep(&pause, NULL);
    return real->write_at(vfs, file, data, size, offset);
}

static void note(daybook_status status, const daybook_receipt *receipt) {
    bool is_first = status == DAYBOOK_OK && receipt->position >= 1 && receipt->position <= EVENT_COUNT &&
                    atomic_exchange(&seen[receipt->position], 1) == 0;
    if (!is_first) atomic_fetch_add(&failure_count, 1);
}

static daybook_event event_of(char subject[32], unsigned writer) {
    daybook_event event;
    daybook_event_init(&event);
    (void)snprintf(subject, 32, "crowd.%u.came", writer);
    event.subject = daybook_text(subject);
    event.data = daybook_text("{}");
    return event;
}

// Each writer is alone with its aggregate: versions count its own appends.
static void *write_alone(void *context) {
    static atomic_uint next_writer;
    (void)context;
    char subject[32];
    daybook_event event = event_of(subject, atomic_fetch_add(&next_writer, 1));
    for (uint64_t i = 1; i <= APPENDS_EACH; i++) {
        daybook_receipt receipt;
        daybook_status status = daybook_append(store, &event, 1, NULL, &receipt, NULL);
        note(status, &receipt);
        if (status != DAYBOOK_OK || receipt.version != i) atomic_fetch_add(&failure_count, 1);
    }
    return NULL;
}

static void note_completed(void *context, daybook_status status, const daybook_receipt *receipts,
                           size_t count, const daybook_error *error) {
    (void)context, (void)count, (void)error;
    note(status, receipts);
    if (receipts->position <= completed_position) atomic_fetch_add(&failure_count, 1);
    completed_position = receipts->position;
    atomic_fetch_add(&completed_count, 1);
}

static void *submit(void *context) {
    (void)context;
    char subject[32];
    daybook_event event = event_of(subject, WRITER_COUNT);
    for (unsigned i = 0; i < SUBMITTED_COUNT; i++) {
        if (daybook_append_submit(store, &event, 1, NULL, note_completed, NULL, NULL) != DAYBOOK_OK)
            atomic_fetch_add(&failure_count, 1);
    }
    return NULL;
}

// Who may wait leads a group itself where nobody else does.
static void *submit_bundles(void *context) {
    static atomic_uint next_writer = WRITER_COUNT + 1;
    (void)context;
    char subject[32];
    daybook_event event = event_of(subject, atomic_fetch_add(&next_writer, 1));
    daybook_append_bundle bundle = {0};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.bundle = &bundle;
    for (unsigned i = 0; i < BUNDLES_EACH; i++) {
        for (unsigned k = 0; k < BUNDLE_SIZE; k++) {
            if (daybook_append_submit(store, &event, 1, &options, note_completed, NULL, NULL) != DAYBOOK_OK)
                atomic_fetch_add(&failure_count, 1);
        }
        if (bundle.count != BUNDLE_SIZE) atomic_fetch_add(&failure_count, 1);
        daybook_append_bundle_submit(store, &bundle, i % 4 != 0);
        if (bundle.count != 0) atomic_fetch_add(&failure_count, 1);
    }
    return NULL;
}

static void add_stream(const char *name, const char *filter) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subject = daybook_text(filter);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
}

static void everybody_of_a_crowd_is_served_once(void **state) {
    (void)state;
    add_stream("CROWD", "crowd.>");
    pthread_t threads[WRITER_COUNT + 1 + BUNDLER_COUNT];
    for (unsigned i = 0; i < WRITER_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_alone, NULL), 0);
    assert_int_equal(pthread_create(&threads[WRITER_COUNT], NULL, submit, NULL), 0);
    for (unsigned i = 1; i <= BUNDLER_COUNT; i++)
        assert_int_equal(pthread_create(&threads[WRITER_COUNT + i], NULL, submit_bundles, NULL), 0);
    for (unsigned i = 0; i < STREAMS_ADDED; i++) {
        char name[16], filter[16];
        (void)snprintf(name, sizeof name, "OTHER%u", i);
        (void)snprintf(filter, sizeof filter, "other%u.>", i);
        add_stream(name, filter);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    for (unsigned i = 0; i <= WRITER_COUNT + BUNDLER_COUNT; i++) (void)pthread_join(threads[i], NULL);
    while (atomic_load(&completed_count) < SUBMITTED_COUNT + BUNDLED_COUNT) {
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(atomic_load(&failure_count), 0);
    for (unsigned i = 1; i <= EVENT_COUNT; i++) assert_int_equal(atomic_load(&seen[i]), 1);
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(store, &info, NULL), DAYBOOK_OK);
    assert_true(info.group_count < EVENT_COUNT / 4); // they shared syncs
}

int main(void) {
    char directory[] = "test_crowd.XXXXXX", path[64], command[96];
    if (mkdtemp(directory) == NULL) return 1;
    (void)snprintf(path, sizeof path, "%s/store", directory);
    daybook_vfs vfs = *daybook_vfs_posix();
    vfs.write_at = slow_write_at;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = &vfs;
    if (daybook_open(path, &options, &store, NULL) != DAYBOOK_OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_of_a_crowd_is_served_once)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (daybook_close(store, NULL) != DAYBOOK_OK) failed++;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0) failed++;
    return failed;
}
