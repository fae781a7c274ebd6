// SPDX-License-Identifier: Apache-2.0
// Consumers where things go otherwise than planned: answers of the wrong, the late and the many;
// configurations and streams that change under messages in flight; clocks that are set; pauses over a
// restart; a thousand on a stream.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { MANY = 1000 };

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

static void add_stream(world *at) {
    daybook_slice subject = daybook_text("s.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = s;
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(13, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    add_stream(&at);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void reopen(world *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at);
}

static void append(world *at, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
}

static daybook_consumer_config config_of(const char *name) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.ack_wait_ns = 10 * DBK_SECOND_NS;
    return config;
}

static daybook_consumer *add(world *at, const daybook_consumer_config *config) {
    daybook_consumer *consumer;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_consumer_add(at->store, s, config, &consumer, &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    return consumer;
}

// The seqs that came, as text.
static const char *fetched(daybook_consumer *consumer) {
    static char text[256];
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = 20;
    options.timeout_ms = 0;
    daybook_batch *batch;
    daybook_status status = daybook_consumer_fetch(consumer, &options, &batch, NULL);
    text[0] = '\0';
    if (status != DAYBOOK_OK) return status == DAYBOOK_TIMEOUT ? text : daybook_status_name(status);
    size_t used = 0;
    for (size_t i = 0; i < batch->count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", i > 0 ? " " : "",
                                 (unsigned long long)batch->messages[i].event.seq);
    daybook_batch_release(batch);
    return text;
}

static daybook_consumer_info info_of(world *at, const char *name) {
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, s, daybook_text(name), &info, NULL), DAYBOOK_OK);
    daybook_consumer_info copy = *info;
    daybook_consumer_info_release(at->store, info);
    return copy;
}

// ---- Answers ------------------------------------------------------------------------------------------------

static void answers_of_the_wrong_and_the_late(void **state) {
    world *at = *state;
    append(at, "s.1.a");
    append(at, "s.1.b");
    daybook_consumer_config one = config_of("one"), other = config_of("other");
    daybook_consumer *mine = add(at, &one), *theirs = add(at, &other);
    assert_string_equal(fetched(mine), "1 2");
    // Another's message, and one that is nobody's.
    assert_int_equal(daybook_consumer_ack(theirs, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_term(theirs, 1, daybook_text("no"), NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_nak(mine, 0, 0, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_ack(mine, 3, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_progress(mine, UINT64_MAX, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(info_of(at, "one").ack_pending_count, 2);
    assert_int_equal(info_of(at, "other").pending_count, 2);
    // Late: it was delivered again meanwhile, and either of the two answers settles it.
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_string_equal(fetched(mine), "1 2");
    assert_int_equal(daybook_consumer_ack(mine, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(mine, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_nak(mine, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    // Late, due, and not yet delivered again: it is not.
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_int_equal(daybook_consumer_ack(mine, 2, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(mine), "");
    assert_int_equal(info_of(at, "one").floor_seq, 2);
    daybook_consumer_close(mine);
    daybook_consumer_close(theirs);
}

static void answers_to_what_is_gone(void **state) {
    world *at = *state;
    for (int i = 0; i < 4; i++) append(at, "s.1.a");
    daybook_consumer_config config = config_of("c");
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "1 2 3 4");
    assert_int_equal(daybook_event_remove(at->store, s, 2, 0, NULL), DAYBOOK_OK);
    daybook_status status = daybook_consumer_ack(consumer, 2, 0, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_stream_purge(at->store, s, NULL, NULL, NULL), DAYBOOK_OK);
    status = daybook_consumer_nak(consumer, 3, 0, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOTFOUND);
    assert_string_equal(fetched(consumer), "");
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "");
    assert_int_equal(info_of(at, "c").ack_pending_count, 0);
    append(at, "s.1.a");
    assert_string_equal(fetched(consumer), "5");
    daybook_consumer_close(consumer);
}

// ---- What changes under messages in flight --------------------------------------------------------------------

static void configurations_change_under_messages(void **state) {
    world *at = *state;
    for (int i = 0; i < 4; i++) append(at, i % 2 == 0 ? "s.1.a" : "s.1.b");
    daybook_consumer_config config = config_of("c");
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "1 2 3 4");
    daybook_slice filters[] = {daybook_text("s.1.a")};
    config.filters = filters;
    config.filter_count = 1;
    config.max_ack_pending = 1;
    config.max_deliver = 2;
    config.ack_wait_ns = DBK_SECOND_NS;
    assert_int_equal(daybook_consumer_update(at->store, s, &config, NULL), DAYBOOK_OK);
    append(at, "s.1.a");
    append(at, "s.1.b");
    assert_int_equal(info_of(at, "c").pending_count, 1);
    // No room for new ones; what is in flight keeps its old deadline, and comes whatever the filter is now.
    assert_string_equal(fetched(consumer), "");
    dbk_sim_advance_ns(at->sim, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "");
    dbk_sim_advance_ns(at->sim, 9 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "1 2 3 4");
    // Delivered twice: given up when the new time is over, and then there is room.
    dbk_sim_advance_ns(at->sim, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "5");
    assert_int_equal(info_of(at, "c").given_up_count, 4);
    assert_int_equal(info_of(at, "c").pending_count, 0);
    config.ack = DAYBOOK_ACK_ALL;
    assert_int_equal(daybook_consumer_update(at->store, s, &config, NULL), DAYBOOK_EINVALID);
    daybook_consumer_close(consumer);
}

typedef struct waiter {
    daybook_consumer *consumer;
    daybook_status status;
} waiter;

static void *wait_for_a_message(void *context) {
    waiter *at = context;
    daybook_batch *batch;
    at->status = daybook_consumer_fetch(at->consumer, NULL, &batch, NULL);
    daybook_batch_release(batch);
    return NULL;
}

// A fetch that waits hears that the stream, or the consumer, is gone.
static void what_is_waited_for_may_be_removed(void **state) {
    world *at = *state;
    for (int which = 0; which < 2; which++) {
        daybook_consumer_config config = config_of("c");
        waiter waits = {.consumer = add(at, &config)};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, wait_for_a_message, &waits), 0);
        while (info_of(at, "c").waiting_count == 0) {
        }
        assert_int_equal(which == 0 ? daybook_consumer_remove(at->store, s, daybook_text("c"), NULL)
                                    : daybook_stream_remove(at->store, s, NULL),
                         DAYBOOK_OK);
        pthread_join(thread, NULL);
        assert_int_equal(waits.status, DAYBOOK_ENOTFOUND);
        assert_int_equal(daybook_consumer_ack(waits.consumer, 1, 0, NULL), DAYBOOK_ENOTFOUND);
        daybook_consumer_close(waits.consumer);
    }
    // A new stream of that name knows nothing of it.
    add_stream(at);
    daybook_consumer *consumer;
    assert_int_equal(daybook_consumer_open(at->store, s, daybook_text("c"), &consumer, NULL),
                     DAYBOOK_ENOTFOUND);
}

// ---- Clocks ---------------------------------------------------------------------------------------------------

// Set while it runs, the clock moves no deadline.
static void a_clock_is_set_while_messages_are_in_flight(void **state) {
    world *at = *state;
    append(at, "s.1.a");
    daybook_consumer_config config = config_of("c");
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "1");
    daybook_vfs *vfs = dbk_sim_vfs(at->sim);
    int64_t before_ns = vfs->clock_real_ns(vfs);
    dbk_sim_set_real_ns(at->sim, before_ns + 86400 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "");
    dbk_sim_set_real_ns(at->sim, before_ns - 86400 * DBK_SECOND_NS);
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "1");
    daybook_consumer_close(consumer);
}

// The clock was wrong, a day ahead, and is set right while the store is closed: what is in flight does not
// wait a day.
static void a_clock_is_set_back_over_a_restart(void **state) {
    world *at = *state;
    append(at, "s.1.a");
    append(at, "s.1.b");
    daybook_vfs *vfs = dbk_sim_vfs(at->sim);
    reopen(at);
    dbk_sim_set_real_ns(at->sim, vfs->clock_real_ns(vfs) + 86400 * DBK_SECOND_NS);
    reopen(at);
    daybook_consumer_config config = config_of("c");
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "1 2");
    assert_int_equal(daybook_consumer_nak(consumer, 2, 100 * DBK_SECOND_NS, NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_set_real_ns(at->sim, vfs->clock_real_ns(vfs) - 86400 * DBK_SECOND_NS);
    open_store(at);
    consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "");
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "1");
    dbk_sim_advance_ns(at->sim, 100 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "1 2");
    daybook_consumer_close(consumer);
}

static void a_pause_outlasts_a_restart(void **state) {
    world *at = *state;
    append(at, "s.1.a");
    append(at, "s.1.b");
    daybook_consumer_config config = config_of("c");
    config.max_ack_pending = 1;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "1");
    daybook_vfs *vfs = dbk_sim_vfs(at->sim);
    int64_t until_ns = vfs->clock_real_ns(vfs) + 60 * DBK_SECOND_NS;
    assert_int_equal(daybook_consumer_pause(at->store, s, daybook_text("c"), until_ns, NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
    reopen(at);
    assert_int_equal(daybook_consumer_open(at->store, s, daybook_text("c"), &consumer, NULL), DAYBOOK_OK);
    assert_true(info_of(at, "c").is_paused);
    dbk_sim_advance_ns(at->sim, 20 * DBK_SECOND_NS); // its message is due, and stays
    assert_string_equal(fetched(consumer), "");
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK); // answers are taken
    assert_string_equal(fetched(consumer), "");
    dbk_sim_advance_ns(at->sim, 41 * DBK_SECOND_NS);
    assert_false(info_of(at, "c").is_paused);
    assert_string_equal(fetched(consumer), "2");
    daybook_consumer_close(consumer);
}

static void deliveries_follow_the_backoff_and_end(void **state) {
    world *at = *state;
    append(at, "s.1.a");
    int64_t backoff[] = {DBK_SECOND_NS, 5 * DBK_SECOND_NS, 20 * DBK_SECOND_NS};
    daybook_consumer_config config = config_of("c");
    config.backoff_ns = backoff;
    config.backoff_count = 3;
    config.max_deliver = 4;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer), "1");
    for (int i = 0; i < 3; i++) {
        dbk_sim_advance_ns(at->sim, backoff[i] - DBK_SECOND_NS / 2);
        assert_string_equal(fetched(consumer), "");
        if (i == 1) {
            daybook_consumer_close(consumer);
            reopen(at);
            consumer = add(at, &config);
        }
        dbk_sim_advance_ns(at->sim, DBK_SECOND_NS);
        assert_string_equal(fetched(consumer), "1");
    }
    dbk_sim_advance_ns(at->sim, 21 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer), "");
    assert_int_equal(info_of(at, "c").given_up_count, 1);
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    daybook_consumer_close(consumer);
}

// ---- Many -------------------------------------------------------------------------------------------------------

static int count_settled(void *context, const daybook_consumer_info *info) {
    if (info->floor_seq == 3 && info->pending_count == 0) ++*(unsigned *)context;
    return 0;
}

static void a_thousand_consumers(void **state) {
    world *at = *state;
    static daybook_consumer *consumers[MANY];
    for (int i = 0; i < MANY; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        daybook_consumer_config config = config_of(name);
        consumers[i] = add(at, &config);
    }
    for (int i = 0; i < 3; i++) append(at, "s.1.a");
    for (int i = 0; i < MANY; i++) {
        assert_string_equal(fetched(consumers[i]), "1 2 3");
        for (uint64_t seq = 1; seq <= 3; seq++)
            assert_int_equal(daybook_consumer_ack(consumers[i], seq, 0, NULL), DAYBOOK_OK);
    }
    for (int i = 0; i < MANY; i++) daybook_consumer_close(consumers[i]);
    reopen(at);
    unsigned settled = 0;
    assert_int_equal(daybook_consumer_list(at->store, s, count_settled, &settled, NULL), DAYBOOK_OK);
    assert_int_equal(settled, MANY);
    assert_int_equal(daybook_stream_remove(at->store, s, NULL), DAYBOOK_OK);
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("$CONSUMERS"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, 0);
    daybook_stream_info_release(at->store, info);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(answers_of_the_wrong_and_the_late),
        CASE(answers_to_what_is_gone),
        CASE(configurations_change_under_messages),
        CASE(what_is_waited_for_may_be_removed),
        CASE(a_clock_is_set_while_messages_are_in_flight),
        CASE(a_clock_is_set_back_over_a_restart),
        CASE(a_pause_outlasts_a_restart),
        CASE(deliveries_follow_the_backoff_and_end),
        CASE(a_thousand_consumers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
