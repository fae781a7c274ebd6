// SPDX-License-Identifier: Apache-2.0
// Power failures under a server with a mirror and a stream with sources, at each change of the disk: the server
// that begins again brings both to what their source has, each message once, at its seq or in its order.
//
// DAYBOOK_SEED    default: from the clock, printed
// DAYBOOK_STRIDE  every how manyth change; default 1: all; instrumented 15
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "lib/slow_build.h"
#include "server/wire.h"

enum {
    MESSAGES = 60,
    OWN = 6,
    CLONES_MAX = 600,
    PATIENCE_MS = 20000,
    STORED_MAX = 600,
    SHORTAGES = 12,
    SHORTAGE_MS = 20
};

typedef struct clone {
    dbk_sim *sim;
    uint64_t step;
    unsigned acknowledged; // of the source
} clone;

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    daybook_server *server;
    fault_allocator faults;
    unsigned stride;
    atomic_uint acknowledged;
    clone clones[CLONES_MAX];
    size_t clone_count;
    uint64_t seed;
} world;

typedef struct stored {
    uint64_t seq;
    unsigned number; // in its data
    bool is_own;
} stored;

static void start(world *at, dbk_sim *sim) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_open_options open;
    daybook_open_options_init(&open);
    open.vfs = dbk_sim_vfs(sim);
    open.allocator = &at->faults.allocator;
    open.memory_budget_bytes = 16 << 20;
    open.memtable_bytes = 256 << 10;
    open.journal_max_bytes = 4 << 20;
    if (daybook_open("/s", &open, &at->store, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.store = at->store;
    options.allocator = &at->faults.allocator;
    options.config_text = daybook_text("announced_version: \"2.12.3\"");
    at->server = wire_server_start(&options);
}

static void stop(world *at) {
    daybook_error error;
    daybook_error_init(&error);
    wire_server_stop(at->server);
    if (daybook_close(at->store, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
}

static void ask(wire *client, const char *subject, const char *body, const char *expected) {
    wire_publish(client, subject, "_INBOX.a", body);
    (void)wire_until(client, expected);
}

static void take_clone(void *context, uint64_t step) {
    world *at = context;
    if (step % at->stride != 0 || at->clone_count == CLONES_MAX) return;
    clone *made = &at->clones[at->clone_count];
    made->step = step;
    made->acknowledged = atomic_load(&at->acknowledged);
    if (dbk_sim_clone(at->sim, at->seed + step, &made->sim) == DAYBOOK_OK) at->clone_count++;
}

static uint64_t last_seq_of(world *at, const char *name) {
    daybook_stream_info *info;
    daybook_status status = daybook_stream_get_info(at->store, daybook_text(name), &info, NULL);
    if (status == DAYBOOK_ENOTFOUND) return 0; // the failure was before it
    assert_int_equal(status, DAYBOOK_OK);
    uint64_t last_seq = info->last_seq;
    daybook_stream_info_release(at->store, info);
    return last_seq;
}

static size_t read_all(world *at, const char *name, stored *events) {
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    size_t count = 0;
    daybook_query_init(&query);
    query.stream = daybook_text(name);
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) {
        assert_true(count < STORED_MAX);
        char text[16] = "";
        memcpy(text, event.event.data.data, event.event.data.size < 15 ? event.event.data.size : 15);
        events[count].seq = event.seq;
        events[count].is_own = text[0] == 's';
        events[count++].number = (unsigned)strtoul(text + 1, NULL, 10);
    }
    daybook_cursor_close(cursor);
    return count;
}

static bool is_there(world *at, const char *name) {
    daybook_stream_info *info;
    if (daybook_stream_get_info(at->store, daybook_text(name), &info, NULL) != DAYBOOK_OK) return false;
    daybook_stream_info_release(at->store, info);
    return true;
}

// Waits until each has what its source has, or stays behind for too long.
static void await_copies(world *at, uint64_t step) {
    stored events[STORED_MAX];
    uint64_t last_seq = last_seq_of(at, "O");
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        size_t copied = 0;
        size_t count = is_there(at, "S") ? read_all(at, "S", events) : 0;
        for (size_t i = 0; i < count; i++) copied += !events[i].is_own;
        if ((!is_there(at, "M") || last_seq_of(at, "M") == last_seq) &&
            (!is_there(at, "S") || copied >= last_seq))
            return;
        wire_nap(1);
    }
    fail_msg("step %llu: the copies do not come to %llu", (unsigned long long)step,
             (unsigned long long)last_seq);
}

static void check_copies(world *at, const clone *of) {
    stored source[STORED_MAX], copy[STORED_MAX];
    await_copies(at, of->step);
    wire_nap(2); // what comes twice comes now
    size_t count = is_there(at, "O") ? read_all(at, "O", source) : 0;
    if (count < of->acknowledged)
        fail_msg("step %llu: %zu of %u that were acknowledged", (unsigned long long)of->step, count,
                 of->acknowledged);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(source[i].seq, i + 1);
        assert_int_equal(source[i].number, i + 1);
    }
    if (is_there(at, "M")) {
        if (read_all(at, "M", copy) != count)
            fail_msg("step %llu: the mirror differs", (unsigned long long)of->step);
        for (size_t i = 0; i < count; i++)
            if (copy[i].seq != source[i].seq || copy[i].number != source[i].number)
                fail_msg("step %llu: the mirror has %u at %llu", (unsigned long long)of->step, copy[i].number,
                         (unsigned long long)copy[i].seq);
    }
    size_t copied = 0, all = is_there(at, "S") ? read_all(at, "S", copy) : 0;
    for (size_t i = 0; i < all; i++) {
        if (copy[i].is_own) continue;
        if (copy[i].number != ++copied)
            fail_msg("step %llu: message %u comes as number %zu", (unsigned long long)of->step,
                     copy[i].number, copied);
    }
    if (is_there(at, "S")) assert_int_equal(copied, count);
}

static void work(world *at) {
    wire client;
    wire_join(&client, daybook_server_port(at->server), "{\"verbose\":false,\"headers\":true}");
    wire_say(&client, "SUB _INBOX.a 1\r\n");
    ask(&client, "$JS.API.STREAM.CREATE.O", "{\"name\":\"O\",\"subjects\":[\"o\"]}", "\"did_create\":true");
    ask(&client, "$JS.API.STREAM.CREATE.M", "{\"name\":\"M\",\"mirror\":{\"name\":\"O\"}}",
        "\"did_create\":true");
    ask(&client, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"O\"}]}", "\"did_create\":true");
    for (unsigned number = 1, own = 0; number <= MESSAGES; number++) {
        char data[24 << 10], expected[32];
        // Some are large, so that the memory table is flushed in between.
        int size = snprintf(data, sizeof data, "m%u %*s", number, number % 3 == 0 ? 20000 : 10, "x");
        assert_in_range(size, 1, sizeof data - 1);
        (void)snprintf(expected, sizeof expected, "\"seq\":%u}", number);
        ask(&client, "o", data, expected);
        atomic_store(&at->acknowledged, number);
        if (number % 10 == 0 && own++ < OWN) ask(&client, "s", "s0", "}\r\n");
    }
    wire_close(&client);
}

static void copies_are_whole_after_power_failures(void **state) {
    world *at = *state;
    start(at, at->sim);
    dbk_sim_set_observer(at->sim, take_clone, at);
    work(at);
    await_copies(at, 0);
    dbk_sim_set_observer(at->sim, NULL, NULL);
    check_copies(at, &(clone){.acknowledged = MESSAGES});
    stop(at);
    print_message("%zu power failures\n", at->clone_count);
    assert_true(at->clone_count >= 5);
    for (size_t i = 0; i < at->clone_count; i++) {
        dbk_sim_crash(at->clones[i].sim, DBK_SIM_POWER_LOSS);
        start(at, at->clones[i].sim);
        check_copies(at, &at->clones[i]);
        stop(at);
        dbk_sim_free(at->clones[i].sim);
        at->clones[i].sim = NULL;
    }
}

// One allocation fails, each time another one of those that a message and its copies take: what fails is tried again.
static void copies_come_through_want_of_memory(void **state) {
    world *at = *state;
    unsigned number = MESSAGES, shortages = 0;
    start(at, at->sim);
    work(at);
    await_copies(at, 0);
    for (uint64_t nth = 1 + at->seed % 5; shortages < SHORTAGES; nth += 1 + (at->seed + nth) % 9) {
        char data[16];
        daybook_event event;
        daybook_status status;
        daybook_event_init(&event);
        event.subject = daybook_text("o");
        (void)snprintf(data, sizeof data, "m%u", ++number);
        event.data = daybook_text(data);
        fault_allocator_fail(&at->faults, nth, false);
        do {
            status = daybook_append(at->store, &event, 1, NULL, NULL, NULL);
            assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOMEM);
        } while (status != DAYBOOK_OK);
        for (int waited_ms = 0; waited_ms < SHORTAGE_MS && !fault_allocator_has_failed(&at->faults);
             waited_ms++)
            nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
        bool has_failed = fault_allocator_has_failed(&at->faults);
        fault_allocator_fail(&at->faults, 0, false);
        await_copies(at, nth);
        shortages += has_failed;
        if (!has_failed) nth = 1; // needed fewer: from the beginning
        assert_true(number < STORED_MAX - OWN);
    }
    check_copies(at, &(clone){.acknowledged = number});
    stop(at);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
}

static int set_up(void **state) {
    world *at = calloc(1, sizeof *at);
    const char *seed = getenv("DAYBOOK_SEED"), *stride = getenv("DAYBOOK_STRIDE");
    assert_non_null(at);
    at->seed = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    at->stride = stride != NULL ? (unsigned)strtoul(stride, NULL, 10) : IS_SLOW_BUILD ? 15 : 1;
    fault_allocator_init(&at->faults);
    print_message("DAYBOOK_SEED=%llu\n", (unsigned long long)at->seed);
    assert_int_equal(dbk_sim_new(at->seed, &at->sim), DAYBOOK_OK);
    *state = at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    for (size_t i = 0; i < at->clone_count; i++) dbk_sim_free(at->clones[i].sim);
    dbk_sim_free(at->sim);
    free(at);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_are_whole_after_power_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copies_come_through_want_of_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
