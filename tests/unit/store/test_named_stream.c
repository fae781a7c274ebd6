// SPDX-License-Identifier: Apache-2.0
// Appends that name their stream: it takes what it captures, and with OTHER_SUBJECTS anything; never does an
// event go elsewhere because of its subject. Over opening, conditions, consumers and acknowledgements that
// ride along.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
} world;

static const daybook_slice open_one = {"OPEN", 4}; // captures o.>, takes others
static const daybook_slice other = {"OTHER", 5};   // captures x.>

static void open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static void add_stream(world *at, daybook_slice name, daybook_slice subject, uint32_t flags) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = name;
    config.subjects = &subject;
    config.subject_count = 1;
    config.flags = flags;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(53, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    add_stream(&at, open_one, daybook_text("o.>"), DAYBOOK_STREAM_OTHER_SUBJECTS);
    add_stream(&at, other, daybook_text("x.>"), 0);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static daybook_status append_to(world *at, daybook_slice stream, const char *subject,
                                const daybook_condition *condition, daybook_receipt *receipt_out) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.stream = stream;
    options.conditions = condition;
    options.condition_count = condition == NULL ? 0 : 1;
    return daybook_append(at->store, &event, 1, &options, receipt_out, NULL);
}

static uint64_t count_of(world *at, daybook_slice stream, const char *filter_text) {
    daybook_slice filter = daybook_text(filter_text);
    uint64_t count;
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream;
    query.filters = &filter;
    query.filter_count = 1;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    return count;
}

static void the_named_stream_takes_it(void **state) {
    world *at = *state;
    daybook_receipt receipt;
    assert_int_equal(append_to(at, open_one, "o.1", NULL, &receipt), DAYBOOK_OK);
    // A subject of nobody, and one that another stream captures.
    assert_int_equal(append_to(at, open_one, "nobody.1", NULL, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.seq, 2);
    assert_int_equal(append_to(at, open_one, "x.1", NULL, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.seq, 3);
    assert_memory_equal(receipt.stream.data, "OPEN", 4);
    for (int round = 0; round < 2; round++) { // also when it was opened again
        assert_int_equal(count_of(at, open_one, "x.1"), 1);
        assert_int_equal(count_of(at, open_one, "nobody.*"), 1);
        assert_int_equal(count_of(at, other, ">"), 0);
        assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
        open_store(at);
    }
}

static void one_that_does_not_take_it_refuses(void **state) {
    world *at = *state;
    daybook_receipt receipt;
    assert_int_equal(append_to(at, other, "o.1", NULL, &receipt), DAYBOOK_ENOSTREAM);
    assert_int_equal(append_to(at, other, "nobody.1", NULL, &receipt), DAYBOOK_ENOSTREAM);
    assert_int_equal(append_to(at, daybook_text("NONE"), "x.1", NULL, &receipt), DAYBOOK_ENOSTREAM);
    assert_int_equal(append_to(at, other, "x.1", NULL, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.seq, 1);
    assert_int_equal(count_of(at, open_one, ">"), 0);
}

static void conditions_are_of_the_named_stream(void **state) {
    world *at = *state;
    daybook_receipt receipt;
    daybook_condition condition;
    assert_int_equal(append_to(at, daybook_bytes(NULL, 0), "x.1", NULL, &receipt), DAYBOOK_OK);
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.expected = 0; // in OPEN there is none, whatever OTHER has
    assert_int_equal(append_to(at, open_one, "x.1", &condition, &receipt), DAYBOOK_OK);
    assert_int_equal(append_to(at, open_one, "x.1", &condition, &receipt), DAYBOOK_ECONFLICT);
    condition.expected = 1;
    assert_int_equal(append_to(at, open_one, "x.1", &condition, &receipt), DAYBOOK_OK);
}

// The state of the consumer that is saved with the append goes where it belongs.
static void acknowledgements_ride_along(void **state) {
    world *at = *state;
    daybook_receipt receipt;
    daybook_slice filter = daybook_text("elsewhere.>"); // may come
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("c");
    config.filters = &filter;
    config.filter_count = 1;
    daybook_consumer *consumer;
    assert_int_equal(daybook_consumer_add(at->store, other, &config, NULL, NULL), DAYBOOK_EINVALID);
    assert_int_equal(daybook_consumer_add(at->store, open_one, &config, &consumer, NULL), DAYBOOK_OK);
    assert_int_equal(append_to(at, open_one, "elsewhere.1", NULL, &receipt), DAYBOOK_OK);
    daybook_fetch_options fetch;
    daybook_fetch_options_init(&fetch);
    fetch.timeout_ms = 0;
    daybook_batch *batch;
    assert_int_equal(daybook_consumer_fetch(consumer, &fetch, &batch, NULL), DAYBOOK_OK);
    daybook_append_ack ack = {.size = sizeof ack, .consumer = consumer, .seq = batch->messages[0].event.seq};
    daybook_batch_release(batch);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("elsewhere.2");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.stream = open_one;
    options.acks = &ack;
    options.ack_count = 1;
    assert_int_equal(daybook_append(at->store, &event, 1, &options, &receipt, NULL), DAYBOOK_OK);
    assert_int_equal(receipt.seq, 2);
    assert_int_equal(count_of(at, open_one, ">"), 2);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at);
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, open_one, config.name, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->floor_seq, 1);
    assert_int_equal(info->pending_count, 1);
    daybook_consumer_info_release(at->store, info);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_named_stream_takes_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_does_not_take_it_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(conditions_are_of_the_named_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(acknowledgements_ride_along, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
