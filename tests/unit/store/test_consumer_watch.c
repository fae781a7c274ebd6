// SPDX-License-Identifier: Apache-2.0
// Watched consumers: after a fetch in vain the callback comes when a fetch would give something, for every
// cause there is; and the time of what comes by itself is told. Threads that publish against one that fetches
// when it is told: nothing is left lying.
#define _POSIX_C_SOURCE 200809L // nanosleep
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/consumer.h"

enum { CONSUMER_COUNT = 8, PUBLISHER_COUNT = 3, EVENTS_EACH = 1500, PATIENCE_MS = 20000 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
} world;

static const daybook_slice s = {"S", 1};

static void open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static void add_stream(daybook_store *store, int64_t sync_interval_ns) {
    daybook_slice subject = daybook_text("s.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = s;
    config.subjects = &subject;
    config.subject_count = 1;
    config.sync_interval_ns = sync_interval_ns;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(17, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    add_stream(at.store, 0);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void append(daybook_store *store, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    assert_int_equal(daybook_append(store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
}

static daybook_consumer_config config_of(const char *name, const daybook_slice *filter) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.ack_wait_ns = 10 * DBK_SECOND_NS;
    config.filters = filter;
    config.filter_count = filter == NULL ? 0 : 1;
    return config;
}

static void count(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
}

typedef struct watched {
    daybook_consumer *consumer;
    atomic_int calls;
} watched;

static void add(world *at, const daybook_consumer_config *config, watched *of) {
    atomic_init(&of->calls, 0);
    assert_int_equal(daybook_consumer_add(at->store, s, config, &of->consumer, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_watch(of->consumer, count, &of->calls, NULL), DAYBOOK_OK);
}

// How often it was called since.
static int calls(watched *of) {
    return atomic_exchange(&of->calls, 0);
}

// The seq that came first, 0 where none did.
static uint64_t fetch_bytes(daybook_consumer *consumer, size_t limit, uint64_t max_bytes, unsigned flags,
                            daybook_status *status_out) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = limit;
    options.timeout_ms = 0;
    options.max_bytes = max_bytes;
    options.flags = flags;
    daybook_batch *batch;
    *status_out = daybook_consumer_fetch(consumer, &options, &batch, NULL);
    if (*status_out != DAYBOOK_OK) return 0;
    uint64_t seq = batch->messages[0].event.seq;
    daybook_batch_release(batch);
    return seq;
}

static uint64_t fetch(watched *of, size_t limit) {
    daybook_status status;
    uint64_t seq = fetch_bytes(of->consumer, limit, 0, 0, &status);
    if (seq == 0) assert_int_equal(status, DAYBOOK_TIMEOUT);
    return seq;
}

// ---- Causes -----------------------------------------------------------------------------------------------

static void events_are_told_to_whom_they_concern(void **state) {
    world *at = *state;
    daybook_slice ones = daybook_text("s.1.>"), any = daybook_text("s.*.b");
    daybook_consumer_config config = config_of("one", &ones);
    watched one, b, all;
    add(at, &config, &one);
    config = config_of("b", &any);
    add(at, &config, &b);
    config = config_of("all", NULL);
    add(at, &config, &all);
    append(at->store, "s.1.a");
    assert_int_equal(calls(&one) + calls(&b) + calls(&all), 0); // nobody looked in vain yet
    assert_int_equal(fetch(&one, 10), 1);
    assert_int_equal(fetch(&all, 10), 1);
    append(at->store, "s.1.a");
    assert_int_equal(calls(&one) + calls(&b) + calls(&all), 0);
    assert_int_equal(fetch(&one, 10), 2);
    assert_int_equal(fetch(&all, 10), 2);
    assert_int_equal(fetch(&one, 10), 0);
    assert_int_equal(fetch(&b, 10), 0);
    assert_int_equal(fetch(&all, 10), 0);
    assert_int_equal(calls(&one) + calls(&b) + calls(&all), 0);
    append(at->store, "s.2.a");
    assert_int_equal(calls(&one), 0);
    assert_int_equal(calls(&b), 0);
    assert_int_equal(calls(&all), 1);
    append(at->store, "s.1.b");
    append(at->store, "s.1.b");
    assert_int_equal(calls(&one), 1);
    assert_int_equal(calls(&b), 1);
    assert_int_equal(calls(&all), 0); // it has not looked since
    daybook_consumer_close(one.consumer);
    daybook_consumer_close(b.consumer);
    daybook_consumer_close(all.consumer);
}

static void answers_are_told(void **state) {
    world *at = *state;
    daybook_consumer_config config = config_of("c", NULL);
    config.max_ack_pending = 1;
    watched c;
    add(at, &config, &c);
    append(at->store, "s.1.a");
    append(at->store, "s.1.a");
    assert_int_equal(fetch(&c, 10), 1);
    assert_int_equal(fetch(&c, 10), 0);
    append(at->store, "s.1.a"); // it may be told, though there is no room
    calls(&c);
    assert_int_equal(fetch(&c, 10), 0);
    // Room.
    assert_int_equal(daybook_consumer_ack(c.consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 10), 2);
    // Given back, at once and later.
    assert_int_equal(fetch(&c, 10), 0);
    assert_int_equal(daybook_consumer_nak(c.consumer, 2, 0, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 10), 2);
    assert_int_equal(fetch(&c, 10), 0);
    assert_int_equal(daybook_consumer_nak(c.consumer, 2, 2 * DBK_SECOND_NS, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 10), 0);
    assert_in_range(daybook_consumer_next_due_ns(c.consumer), 1900 * DBK_MILLISECOND_NS,
                    2100 * DBK_MILLISECOND_NS);
    // Removed: what was in flight is no more.
    assert_int_equal(daybook_event_remove(at->store, s, 2, 0, NULL), DAYBOOK_OK);
    (void)daybook_maintain(at->store, NULL);
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 10), 3);
    assert_int_equal(fetch(&c, 10), 0);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    assert_int_equal(daybook_stream_purge(at->store, s, &purge, NULL, NULL), DAYBOOK_OK);
    (void)daybook_maintain(at->store, NULL);
    assert_int_equal(calls(&c), 1);
    daybook_consumer_close(c.consumer);
}

static void changes_are_told(void **state) {
    world *at = *state;
    daybook_slice ones = daybook_text("s.1.>"), twos = daybook_text("s.2.>");
    daybook_consumer_config config = config_of("c", &ones);
    watched c;
    add(at, &config, &c);
    assert_int_equal(fetch(&c, 1), 0);
    // Other filters: they count at once, for the watch too.
    config.filters = &twos;
    assert_int_equal(daybook_consumer_update(at->store, s, &config, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 1), 0);
    append(at->store, "s.1.a");
    assert_int_equal(calls(&c), 0);
    append(at->store, "s.2.a");
    assert_int_equal(calls(&c), 1);
    // A pause, and its end.
    int64_t now_ns = dbk_sim_vfs(at->sim)->clock_real_ns(dbk_sim_vfs(at->sim));
    assert_int_equal(daybook_consumer_pause(at->store, s, config.name, now_ns + 5 * DBK_SECOND_NS, NULL),
                     DAYBOOK_OK);
    assert_int_equal(fetch(&c, 1), 0);
    assert_in_range(daybook_consumer_next_due_ns(c.consumer), 4 * DBK_SECOND_NS, 5 * DBK_SECOND_NS);
    assert_int_equal(daybook_consumer_pause(at->store, s, config.name, 0, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 1), 2);
    assert_int_equal(fetch(&c, 1), 0);
    daybook_consumer_interrupt(c.consumer);
    assert_int_equal(calls(&c), 1);
    daybook_consumer_close(c.consumer);
    // Gone.
    config = config_of("d", NULL);
    watched d;
    add(at, &config, &d);
    while (fetch(&d, 10) != 0) {
    }
    assert_int_equal(daybook_consumer_remove(at->store, s, config.name, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&d), 1);
    daybook_status status;
    assert_int_equal(fetch_bytes(d.consumer, 1, 0, 0, &status), 0);
    assert_int_equal(status, DAYBOOK_ENOTFOUND);
    daybook_consumer_close(d.consumer);
    config = config_of("e", NULL);
    watched e;
    add(at, &config, &e);
    while (fetch(&e, 10) != 0) {
    }
    assert_int_equal(daybook_stream_remove(at->store, s, NULL), DAYBOOK_OK);
    assert_int_equal(calls(&e), 1);
    daybook_consumer_close(e.consumer);
}

static void what_comes_by_time_is_foretold(void **state) {
    world *at = *state;
    daybook_consumer_config config = config_of("c", NULL);
    watched c;
    add(at, &config, &c);
    assert_true(daybook_consumer_next_due_ns(c.consumer) == INT64_MAX);
    assert_int_equal(fetch(&c, 10), 0);
    assert_true(daybook_consumer_next_due_ns(c.consumer) == INT64_MAX);
    append(at->store, "s.1.a");
    assert_int_equal(fetch(&c, 10), 1);
    assert_int_equal(fetch(&c, 10), 0);
    int64_t left_ns = daybook_consumer_next_due_ns(c.consumer);
    assert_in_range(left_ns, 9 * DBK_SECOND_NS, 10 * DBK_SECOND_NS + 20 * DBK_MILLISECOND_NS);
    calls(&c);
    dbk_sim_advance_ns(at->sim, left_ns);
    assert_int_equal(daybook_consumer_next_due_ns(c.consumer), 0);
    // It may be somewhat early; then the next time is told.
    for (int i = 0; i < 5 && fetch(&c, 10) == 0; i++)
        dbk_sim_advance_ns(at->sim, daybook_consumer_next_due_ns(c.consumer));
    assert_int_equal(calls(&c), 0); // nobody tells
    assert_int_equal(daybook_consumer_ack(c.consumer, 1, 0, NULL), DAYBOOK_OK);
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, s, config.name, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->delivered_number, 2);
    daybook_consumer_info_release(at->store, info);
    daybook_consumer_close(c.consumer);
    assert_true(daybook_consumer_next_due_ns(NULL) == INT64_MAX);
}

static void a_watch_ends(void **state) {
    world *at = *state;
    daybook_consumer_config config = config_of("c", NULL);
    watched c;
    add(at, &config, &c);
    assert_int_equal(daybook_consumer_watch(NULL, count, &c.calls, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_watch(c.consumer, count, &c.calls, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(fetch(&c, 1), 0);
    assert_int_equal(daybook_consumer_watch(c.consumer, NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_watch(c.consumer, NULL, NULL, NULL), DAYBOOK_OK);
    append(at->store, "s.1.a");
    assert_int_equal(calls(&c), 0);
    // And begins anew.
    assert_int_equal(daybook_consumer_watch(c.consumer, count, &c.calls, NULL), DAYBOOK_OK);
    assert_int_equal(fetch(&c, 1), 1);
    assert_int_equal(fetch(&c, 1), 0);
    // Two handles, each with its own.
    watched other;
    atomic_init(&other.calls, 0);
    assert_int_equal(daybook_consumer_open(at->store, s, config.name, &other.consumer, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_watch(other.consumer, count, &other.calls, NULL), DAYBOOK_OK);
    append(at->store, "s.1.a");
    assert_int_equal(calls(&c), 1);
    assert_int_equal(calls(&other), 0);
    assert_int_equal(fetch(&c, 1), 2);
    assert_int_equal(fetch(&other, 1), 0);
    daybook_consumer_close(other.consumer);
    append(at->store, "s.1.a");
    assert_int_equal(calls(&other), 0);
    daybook_consumer_close(c.consumer);
}

static void events_acknowledged_early_are_told_when_they_are_seen(void **state) {
    world *at = *state;
    daybook_store *own = at->store;
    assert_int_equal(daybook_stream_remove(own, s, NULL), DAYBOOK_OK);
    add_stream(own, 50 * DBK_MILLISECOND_NS);
    daybook_consumer_config config = config_of("c", NULL);
    watched c;
    add(at, &config, &c);
    assert_int_equal(fetch(&c, 1), 0);
    append(own, "s.1.a");
    assert_int_equal(calls(&c), 0); // not visible before it is durable
    dbk_sim_advance_ns(at->sim, 60 * DBK_MILLISECOND_NS);
    while (daybook_maintain(own, NULL) == DAYBOOK_OK) {
    }
    assert_int_equal(calls(&c), 1);
    assert_int_equal(fetch(&c, 1), 1);
    daybook_consumer_close(c.consumer);
}

static void a_first_message_may_be_too_large(void **state) {
    world *at = *state;
    daybook_consumer_config config = config_of("c", NULL);
    watched c;
    add(at, &config, &c);
    append(at->store, "s.1.abcdefghij");
    append(at->store, "s.1.a");
    daybook_status status;
    assert_int_equal(fetch_bytes(c.consumer, 5, 8, DAYBOOK_FETCH_STRICT_BYTES, &status), 0);
    assert_int_equal(status, DAYBOOK_ELIMIT);
    assert_int_equal(fetch_bytes(c.consumer, 5, 14, DAYBOOK_FETCH_STRICT_BYTES, &status), 1);
    // The same of one that comes again.
    assert_int_equal(daybook_consumer_nak(c.consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(fetch_bytes(c.consumer, 5, 13, DAYBOOK_FETCH_STRICT_BYTES, &status), 0);
    assert_int_equal(status, DAYBOOK_ELIMIT);
    assert_int_equal(fetch_bytes(c.consumer, 5, 13, 0, &status), 1);
    daybook_consumer_close(c.consumer);
}

// ---- Threads ----------------------------------------------------------------------------------------------

typedef struct crowd {
    daybook_store *store;
    daybook_consumer *consumers[CONSUMER_COUNT];
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool is_told[CONSUMER_COUNT];
} crowd;

typedef struct teller {
    crowd *of;
    size_t index;
} teller;

static void tell(void *context) {
    const teller *at = context;
    pthread_mutex_lock(&at->of->lock);
    at->of->is_told[at->index] = true;
    pthread_cond_signal(&at->of->told);
    pthread_mutex_unlock(&at->of->lock);
}

typedef struct publisher {
    daybook_store *store;
    unsigned number;
} publisher;

static void *publish(void *context) {
    const publisher *at = context;
    for (unsigned i = 0; i < EVENTS_EACH; i++) {
        char subject[32];
        (void)snprintf(subject, sizeof subject, "s.%u.x", (at->number + i) % CONSUMER_COUNT);
        append(at->store, subject);
    }
    return NULL;
}

// Whoever was told fetches until there is nothing; so long as anything is missing somebody is told.
static uint64_t serve(crowd *at, uint64_t expected) {
    uint64_t taken = 0;
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_MS / 1000;
    while (taken < expected) {
        pthread_mutex_lock(&at->lock);
        size_t told = 0;
        int waited = 0;
        for (;;) {
            for (told = 0; told < CONSUMER_COUNT && !at->is_told[told];) told++;
            if (told < CONSUMER_COUNT || waited != 0) break;
            waited = pthread_cond_timedwait(&at->told, &at->lock, &deadline);
        }
        if (told < CONSUMER_COUNT) at->is_told[told] = false;
        pthread_mutex_unlock(&at->lock);
        if (told == CONSUMER_COUNT) return taken;
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = 16;
        options.timeout_ms = 0;
        daybook_batch *batch;
        daybook_status status;
        while ((status = daybook_consumer_fetch(at->consumers[told], &options, &batch, NULL)) == DAYBOOK_OK) {
            taken += batch->count;
            daybook_batch_release(batch);
        }
        assert_int_equal(status, DAYBOOK_TIMEOUT);
    }
    return taken;
}

static void nothing_is_left_lying(void **state) {
    (void)state;
    crowd at = {0};
    daybook_open_options open_options;
    daybook_open_options_init(&open_options);
    open_options.memtable_bytes = 256 << 10; // tables change under it
    assert_int_equal(daybook_open(":memory:", &open_options, &at.store, NULL), DAYBOOK_OK);
    add_stream(at.store, 0);
    pthread_mutex_init(&at.lock, NULL);
    pthread_cond_init(&at.told, NULL);
    teller tellers[CONSUMER_COUNT];
    for (size_t i = 0; i < CONSUMER_COUNT; i++) {
        char name[16], filter_text[16];
        (void)snprintf(name, sizeof name, "c%zu", i);
        (void)snprintf(filter_text, sizeof filter_text, "s.%zu.*", i);
        daybook_slice filter = daybook_text(filter_text);
        daybook_consumer_config config = config_of(name, &filter);
        config.ack = DAYBOOK_ACK_NONE;
        assert_int_equal(daybook_consumer_add(at.store, s, &config, &at.consumers[i], NULL), DAYBOOK_OK);
        tellers[i] = (teller){&at, i};
        assert_int_equal(daybook_consumer_watch(at.consumers[i], tell, &tellers[i], NULL), DAYBOOK_OK);
        at.is_told[i] = true; // once to begin with
    }
    pthread_t threads[PUBLISHER_COUNT];
    publisher publishers[PUBLISHER_COUNT];
    for (unsigned i = 0; i < PUBLISHER_COUNT; i++) {
        publishers[i] = (publisher){at.store, i};
        assert_int_equal(pthread_create(&threads[i], NULL, publish, &publishers[i]), 0);
    }
    assert_int_equal(serve(&at, PUBLISHER_COUNT * EVENTS_EACH), PUBLISHER_COUNT * EVENTS_EACH);
    for (unsigned i = 0; i < PUBLISHER_COUNT; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < CONSUMER_COUNT; i++) daybook_consumer_close(at.consumers[i]);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
    pthread_cond_destroy(&at.told);
    pthread_mutex_destroy(&at.lock);
}

// ---- Beside changes ---------------------------------------------------------------------------------------

typedef struct beside {
    world *at;
    watched *of;
    atomic_bool is_done;
} beside;

static void *watch_it(void *context) {
    beside *mine = context;
    assert_int_equal(daybook_consumer_watch(mine->of->consumer, count, &mine->of->calls, NULL), DAYBOOK_OK);
    atomic_store(&mine->is_done, true);
    return NULL;
}

// A server watches in the thread that serves everybody, while consumers are added elsewhere, which takes time.
static void watching_waits_for_no_change(void **state) {
    world *at = *state;
    watched of;
    daybook_consumer_config config = config_of("c", NULL);
    add(at, &config, &of);
    assert_int_equal(daybook_consumer_watch(of.consumer, NULL, NULL, NULL), DAYBOOK_OK);
    beside mine = {.at = at, .of = &of};
    struct dbk_consumers *registry = atomic_load(&at->store->consumers);
    pthread_t thread;
    pthread_mutex_lock(&registry->change_lock);
    assert_int_equal(pthread_create(&thread, NULL, watch_it, &mine), 0);
    for (int i = 0; i < PATIENCE_MS && !atomic_load(&mine.is_done); i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    bool was_done = atomic_load(&mine.is_done);
    pthread_mutex_unlock(&registry->change_lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(was_done);
    daybook_consumer_close(of.consumer);
}

static void *change_filters(void *context) {
    beside *mine = context;
    for (int i = 0; i < 300; i++) {
        daybook_slice filter = daybook_text(i % 2 == 0 ? "s.2.>" : "s.1.>");
        daybook_consumer_config config = config_of("c", &filter);
        assert_int_equal(daybook_consumer_update(mine->at->store, s, &config, NULL), DAYBOOK_OK);
    }
    atomic_store(&mine->is_done, true);
    return NULL;
}

// A watch that begins beside changes is of the filters that hold in the end.
static void a_watch_follows_filters_that_change_meanwhile(void **state) {
    world *at = *state;
    watched of;
    daybook_slice filter = daybook_text("s.1.>");
    daybook_consumer_config config = config_of("c", &filter);
    add(at, &config, &of);
    beside mine = {.at = at, .of = &of};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, change_filters, &mine), 0);
    daybook_status status;
    do {
        assert_int_equal(daybook_consumer_watch(of.consumer, NULL, NULL, NULL), DAYBOOK_OK);
        assert_int_equal(daybook_consumer_watch(of.consumer, count, &of.calls, NULL), DAYBOOK_OK);
        (void)fetch_bytes(of.consumer, 1, 0, 0, &status);
        assert_int_equal(status, DAYBOOK_TIMEOUT);
    } while (!atomic_load(&mine.is_done));
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)fetch_bytes(of.consumer, 1, 0, 0, &status);
    (void)calls(&of);
    append(at->store, "s.2.x");
    assert_int_equal(calls(&of), 0);
    append(at->store, "s.1.x");
    assert_int_equal(calls(&of), 1);
    daybook_consumer_close(of.consumer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_are_told_to_whom_they_concern, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_by_time_is_foretold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_watch_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_acknowledged_early_are_told_when_they_are_seen, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_first_message_may_be_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watching_waits_for_no_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_watch_follows_filters_that_change_meanwhile, set_up, tear_down),
        cmocka_unit_test(nothing_is_left_lying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
