// SPDX-License-Identifier: Apache-2.0
// An id that comes again is answered from the stored event, whose segment may be replaced at that very
// moment.
//
// The steps are put in order by completions of submitted appends, which hold the commit thread, and by a vfs
// that holds its read of the event's block:
//
//   commit thread   a completion blocks | first, again: one group | first's completion blocks | again: reads .......
//   this thread     submits first, again|                         | flush: a segment           | rewrites the segment
//
// Released memory is overwritten and never given again, so that whoever lets go too early is caught without a
// sanitizer.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

// ---- Memory that shows who uses it after its end ----------------------------------------------------------

typedef union header {
    struct {
        size_t size;
        union header *next; // released
    } said;
    long double alignment;
} header;

static _Atomic(header *) released;

static void release(void *context, void *data) {
    (void)context;
    if (data == NULL) return;
    header *old = (header *)data - 1;
    memset(data, 0xdd, old->said.size);
    header *next = atomic_load(&released);
    do {
        old->said.next = next;
    } while (!atomic_compare_exchange_weak(&released, &next, old));
}

static void *resize(void *context, void *data, size_t size) {
    header *fresh = malloc(sizeof *fresh + size);
    if (fresh == NULL) return NULL;
    fresh->said.size = size;
    if (data != NULL) {
        size_t old_size = ((header *)data - 1)->said.size;
        memcpy(fresh + 1, data, size < old_size ? size : old_size);
        release(context, data);
    }
    return fresh + 1;
}

static void free_released(void) {
    for (header *next, *at = atomic_exchange(&released, NULL); at != NULL; at = next) {
        next = at->said.next;
        free(at);
    }
}

// ---- Steps ------------------------------------------------------------------------------------------------

typedef enum step {
    BEGUN,
    THREAD_IS_HELD,      // by a completion
    BOTH_ARE_QUEUED,     // this thread: go on
    BOTH_ARE_DECIDED,    // the first one's completion holds the thread
    IS_IN_A_SEGMENT,     // this thread: go on
    BLOCK_IS_BEING_READ, // held in the vfs
    SEGMENT_IS_REPLACED, // this thread: go on
    IS_ANSWERED,
} step;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static step reached;
static pthread_t thread; // the commit thread, known from its first completion on

static void reach(step at) {
    pthread_mutex_lock(&lock);
    assert_true(reached + 1 == at);
    reached = at;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_for(step at) {
    pthread_mutex_lock(&lock);
    while (reached < at) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static bool is_next(step at) {
    pthread_mutex_lock(&lock);
    bool is = reached + 1 == at;
    pthread_mutex_unlock(&lock);
    return is;
}

static dbk_sim *sim;

static int64_t read_at(daybook_vfs *vfs, daybook_file *file, void *data, size_t size, uint64_t offset) {
    if (is_next(BLOCK_IS_BEING_READ) && pthread_equal(pthread_self(), thread)) {
        reach(BLOCK_IS_BEING_READ);
        wait_for(SEGMENT_IS_REPLACED);
    }
    return dbk_sim_vfs(sim)->read_at(vfs, file, data, size, offset);
}

static void on_held(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                    const daybook_error *error) {
    (void)context, (void)receipts, (void)count, (void)error;
    assert_int_equal(status, DAYBOOK_OK);
    thread = pthread_self();
    reach(THREAD_IS_HELD);
    wait_for(BOTH_ARE_QUEUED);
}

static void on_first(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                     const daybook_error *error) {
    (void)count, (void)error;
    assert_int_equal(status, DAYBOOK_OK);
    *(daybook_receipt *)context = receipts[0];
    reach(BOTH_ARE_DECIDED);
    wait_for(IS_IN_A_SEGMENT);
}

static void on_again(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                     const daybook_error *error) {
    (void)count, (void)error;
    assert_int_equal(status, DAYBOOK_OK);
    *(daybook_receipt *)context = receipts[0];
    reach(IS_ANSWERED);
}

static void submit(daybook_store *store, const char *id, daybook_append_done done, void *context) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");
    event.id = daybook_text(id);
    event.data = daybook_text("{\"what\":\"a book\"}");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    assert_int_equal(daybook_append_submit(store, &event, 1, &options, done, context, NULL), DAYBOOK_OK);
}

static void what_answers_a_repeated_id_outlives_its_segment(void **state) {
    (void)state;
    assert_int_equal(dbk_sim_new(5, &sim), DAYBOOK_OK);
    daybook_vfs vfs = *dbk_sim_vfs(sim);
    vfs.read_at = read_at;
    daybook_allocator allocator = {.resize = resize, .release = release};
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = &vfs;
    options.allocator = &allocator;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    daybook_receipt first, again;
    submit(store, "held", on_held, NULL);
    wait_for(THREAD_IS_HELD);
    submit(store, "one", on_first, &first);
    submit(store, "one", on_again, &again);
    reach(BOTH_ARE_QUEUED);
    wait_for(BOTH_ARE_DECIDED);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    reach(IS_IN_A_SEGMENT);
    wait_for(BLOCK_IS_BEING_READ);
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 1, 1, NULL), DAYBOOK_OK);
    reach(SEGMENT_IS_REPLACED);
    wait_for(IS_ANSWERED);
    assert_int_equal(again.flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(again.position, first.position);
    assert_int_equal(again.seq, 2);
    assert_int_equal(again.recorded_ns, first.recorded_ns);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    free_released();
    dbk_sim_free(sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_answers_a_repeated_id_outlives_its_segment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
