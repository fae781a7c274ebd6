// SPDX-License-Identifier: Apache-2.0
// The live page: readers of other processes see the writer's values as one, never going back, also after a
// writer died while publishing.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/memory.h"
#include "store/live.h"

enum {
    SEQUENCE_OFFSET = 24, // of the page: format of live.c
    PAGE_SIZE = 4096,
    PUBLISH_COUNT = 200000,
    PUBLISH_COUNT_MAX = 20000000,
};
#define SECOND_NS INT64_C(1000000000)

static const dbk_uuid ours = {{1, 2, 3}};
static const dbk_uuid theirs = {{3, 2, 1}};

typedef struct fixture {
    char directory[64];
    daybook_vfs *vfs;
} fixture;

static void begin(fixture *at) {
    at->vfs = daybook_vfs_posix();
    (void)snprintf(at->directory, sizeof at->directory, "test_live.XXXXXX");
    assert_non_null(mkdtemp(at->directory));
}

static void end(fixture *at) {
    char path[96];
    (void)snprintf(path, sizeof path, "%s/live", at->directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(at->directory), 0);
}

static daybook_status try_open(fixture *at, const dbk_uuid *uuid, bool writer, dbk_live **live_out) {
    return dbk_live_open(dbk_allocator_default(), at->vfs, at->directory, uuid, writer, live_out, NULL);
}

static dbk_live *open_live(fixture *at, bool writer) {
    dbk_live *live = NULL;
    assert_int_equal(try_open(at, &ours, writer, &live), DAYBOOK_OK);
    return live;
}

static dbk_live_values values_of(uint64_t number) {
    return (dbk_live_values){.writer_open = true,
                             .manifest_edit = number,
                             .durable_lsn = number * 3,
                             .durable_position = number * 5};
}

static void publish(dbk_live *live, uint64_t number) {
    dbk_live_values values = values_of(number);
    dbk_live_publish(live, &values);
}

static void what_was_published_never_goes_back(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_live *writer = open_live(&at, true);
    dbk_live_identify(writer, 7, 8, 9);
    publish(writer, 5);
    publish(writer, 3); // two threads that publish may come in either order
    dbk_live *reader = open_live(&at, false);
    dbk_live_values seen;
    assert_true(dbk_live_get(reader, &seen));
    assert_int_equal(seen.incarnation, 7);
    assert_int_equal(seen.process_id, 8);
    assert_int_equal(seen.session, 9);
    assert_int_equal(seen.manifest_edit, 5);
    assert_int_equal(seen.durable_lsn, 15);
    assert_int_equal(seen.durable_position, 25);
    dbk_live_close(reader);
    dbk_live_close(writer);
    end(&at);
}

static void a_page_of_another_store_is_none(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_live *live = open_live(&at, true);
    publish(live, 5);
    dbk_live_close(live);
    assert_int_equal(try_open(&at, &theirs, false, &live), DAYBOOK_ENOTFOUND);
    assert_null(live);
    // Its writer begins it anew.
    assert_int_equal(try_open(&at, &theirs, true, &live), DAYBOOK_OK);
    dbk_live_values seen;
    assert_true(dbk_live_get(live, &seen));
    assert_int_equal(seen.durable_lsn, 0);
    dbk_live_close(live);
    end(&at);
}

static void a_writer_that_died_while_publishing_is_followed_by_another(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_live *writer = open_live(&at, true);
    publish(writer, 5);
    dbk_live_close(writer);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/live", at.directory);
    daybook_file *file = NULL;
    void *page = NULL;
    assert_int_equal(at.vfs->open(at.vfs, path, DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(at.vfs->map_shared(at.vfs, file, PAGE_SIZE, 1, &page), 0);
    atomic_fetch_add((_Atomic uint32_t *)(void *)((uint8_t *)page + SEQUENCE_OFFSET), 1);
    at.vfs->unmap_shared(at.vfs, page, PAGE_SIZE);
    at.vfs->close(at.vfs, file);

    dbk_live *reader = open_live(&at, false);
    dbk_live_values seen;
    assert_false(dbk_live_get(reader, &seen));
    writer = open_live(&at, true);
    assert_true(dbk_live_get(reader, &seen));
    publish(writer, 6);
    assert_true(dbk_live_get(reader, &seen));
    assert_int_equal(seen.durable_lsn, 18);
    dbk_live_close(reader);
    dbk_live_close(writer);
    end(&at);
}

static void who_waits_looks_once_more(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_live *writer = open_live(&at, true);
    dbk_live *reader = open_live(&at, false);
    dbk_live_values seen;
    assert_true(dbk_live_get(reader, &seen));
    publish(writer, 1); // between the look and the wait
    int64_t began_ns = at.vfs->clock_monotonic_ns(at.vfs);
    dbk_live_wait(reader, &seen, 20 * SECOND_NS);
    assert_true(at.vfs->clock_monotonic_ns(at.vfs) - began_ns < 10 * SECOND_NS);
    dbk_live_close(reader);
    dbk_live_close(writer);
    end(&at);
}

typedef struct reading {
    dbk_live *live;
    const uint8_t *page;
    atomic_bool stop;
    uint64_t torn;
    uint64_t seen_count;
} reading;

static void *read_values(void *context) {
    reading *at = context;
    uint64_t last = 0;
    while (!atomic_load(&at->stop)) {
        dbk_live_values seen;
        if (!dbk_live_get(at->live, &seen)) continue;
        uint64_t number = seen.manifest_edit;
        at->torn += seen.durable_lsn != number * 3 || seen.durable_position != number * 5 || number < last;
        at->seen_count += number > last;
        last = number;
    }
    return NULL;
}

// While values are stored the sequence is odd, so that a reader in between knows. Published until one was.
static void *look_for_odd(void *context) {
    reading *at = context;
    const _Atomic uint32_t *sequence = (const void *)(at->page + SEQUENCE_OFFSET);
    while (!atomic_load(&at->stop) && atomic_load(sequence) % 2 == 0) {
    }
    atomic_store(&at->stop, true);
    return NULL;
}

static void a_half_written_page_is_marked(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_live *writer = open_live(&at, true);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/live", at.directory);
    daybook_file *file = NULL;
    void *page = NULL;
    assert_int_equal(at.vfs->open(at.vfs, path, DAYBOOK_VFS_READ, &file), 0);
    assert_int_equal(at.vfs->map_shared(at.vfs, file, PAGE_SIZE, 0, &page), 0);
    reading reader = {.page = page};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look_for_odd, &reader), 0);
    uint64_t count = 0;
    while (!atomic_load(&reader.stop) && count < PUBLISH_COUNT_MAX) publish(writer, ++count);
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    assert_true(count < PUBLISH_COUNT_MAX);
    at.vfs->unmap_shared(at.vfs, page, PAGE_SIZE);
    at.vfs->close(at.vfs, file);
    dbk_live_close(writer);
    end(&at);
}

static void *publish_many(void *context) {
    for (uint64_t i = 1; i <= PUBLISH_COUNT; i++) publish(context, i);
    return NULL;
}

// Groups and manifest edits are published by different threads.
static void values_are_seen_as_one(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_live *writer = open_live(&at, true);
    reading reader = {.live = open_live(&at, false)};
    pthread_t thread;
    pthread_t other;
    assert_int_equal(pthread_create(&thread, NULL, read_values, &reader), 0);
    assert_int_equal(pthread_create(&other, NULL, publish_many, writer), 0);
    (void)publish_many(writer);
    pthread_join(other, NULL);
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(reader.torn, 0);
    dbk_live_values last;
    assert_true(dbk_live_get(reader.live, &last));
    assert_int_equal(last.manifest_edit, PUBLISH_COUNT);
    dbk_live_close(reader.live);
    dbk_live_close(writer);
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_published_never_goes_back),
        cmocka_unit_test(a_page_of_another_store_is_none),
        cmocka_unit_test(a_writer_that_died_while_publishing_is_followed_by_another),
        cmocka_unit_test(who_waits_looks_once_more),
        cmocka_unit_test(a_half_written_page_is_marked),
        cmocka_unit_test(values_are_seen_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
