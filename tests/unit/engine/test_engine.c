// SPDX-License-Identifier: Apache-2.0
// The engine interface: a store is an engine with every capability; an engine without one is never asked for it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core_engine.h"

typedef struct fixture {
    daybook_store *store;
    daybook_engine *engine; // the store's
    daybook_engine *core;
    daybook_error error;
} fixture;

static fixture at;

static int set_up(void **context) {
    *context = &at;
    memset(&at, 0, sizeof at);
    daybook_error_init(&at.error);
    if (daybook_open(":memory:", NULL, &at.store, &at.error) != DAYBOOK_OK) return -1;
    at.engine = daybook_store_engine(at.store);
    at.core = core_engine_new(at.store);
    daybook_slice subjects = daybook_text("orders.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("ORDERS");
    config.subjects = &subjects;
    config.subject_count = 1;
    return daybook_engine_stream_add(at.engine, &config, &at.error) == DAYBOOK_OK && at.core != NULL ? 0 : -1;
}

static int tear_down(void **context) {
    (void)context;
    core_engine_free(at.core);
    return daybook_close(at.store, NULL) == DAYBOOK_OK ? 0 : -1;
}

static daybook_receipt append(daybook_engine *engine, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    receipt.size = sizeof receipt;
    assert_int_equal(daybook_engine_append(engine, &event, 1, NULL, &receipt, &at.error), DAYBOOK_OK);
    return receipt;
}

static void orders(daybook_query *query) {
    daybook_query_init(query);
    query->stream = daybook_text("ORDERS");
}

static unsigned read_all(daybook_engine *engine, const daybook_query *query,
                         daybook_recorded_event *last_out) {
    daybook_engine_cursor *cursor = NULL;
    assert_int_equal(daybook_engine_read(engine, query, &cursor, &at.error), DAYBOOK_OK);
    unsigned count = 0;
    while (daybook_engine_next(cursor, 0, last_out, &at.error) == DAYBOOK_OK) count++;
    daybook_engine_cursor_close(cursor);
    return count;
}

static void a_store_is_one_engine_with_every_capability(void **context) {
    (void)context;
    assert_ptr_equal(daybook_store_engine(at.store), at.engine);
    assert_null(daybook_store_engine(NULL));
    assert_string_equal(daybook_engine_name(at.engine), "store");
    assert_int_equal(daybook_engine_is_read_only(at.engine), 0);
    for (uint64_t bit = 1; bit != 0; bit <<= 1) {
        int is_known = daybook_engine_capability_name(bit) != NULL;
        assert_int_equal(is_known, (daybook_engine_capabilities(at.engine) & bit) != 0);
    }
    assert_int_equal(append(at.engine, "orders.1.placed").version, 1);
    assert_int_equal(append(at.engine, "orders.1.paid").version, 2);
    daybook_query query;
    daybook_recorded_event last;
    orders(&query);
    assert_int_equal(read_all(at.engine, &query, &last), 2);
    uint64_t count = 0;
    assert_int_equal(daybook_engine_count(at.engine, &query, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 2);
}

static void an_engine_tells_which_store_it_is(void **context) {
    (void)context;
    daybook_engine_info info = {.size = sizeof info};
    daybook_store_info store = {.size = sizeof store};
    assert_int_equal(append(at.engine, "orders.1.placed").version, 1);
    assert_int_equal(daybook_info(at.store, &store, &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_engine_get_info(at.engine, &info, &at.error), DAYBOOK_OK);
    assert_string_equal(info.store, store.uuid);
    assert_int_equal(strlen(info.store), 36);
    assert_int_equal(info.durable_position, store.durable_position);
    assert_true(info.durable_position > 0);
    assert_int_equal(daybook_engine_get_info(at.core, &info, &at.error), DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at.error.message, "which store"));
    assert_int_equal(daybook_engine_get_info(NULL, &info, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_get_info(at.engine, NULL, &at.error), DAYBOOK_EMISUSE);
    info.size = 0;
    assert_int_equal(daybook_engine_get_info(at.engine, &info, &at.error), DAYBOOK_EMISUSE);
}

static void an_interrupted_cursor_says_so(void **context) {
    (void)context;
    daybook_query query;
    daybook_recorded_event event;
    daybook_engine_cursor *cursor = NULL;
    orders(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    assert_int_equal(daybook_engine_read(at.engine, &query, &cursor, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_engine_next(cursor, 0, &event, NULL), DAYBOOK_TIMEOUT);
    daybook_engine_interrupt(cursor);
    assert_int_equal(daybook_engine_next(cursor, -1, &event, NULL), DAYBOOK_ECLOSED);
    daybook_engine_cursor_close(cursor);
    daybook_engine_interrupt(NULL);
    daybook_engine_cursor_close(NULL);
}

static void the_core_is_there_on_an_engine_without_capabilities(void **context) {
    (void)context;
    append(at.core, "orders.1.placed");
    daybook_receipt receipt = append(at.core, "orders.2.placed");
    assert_int_equal(receipt.version, 0);
    assert_int_equal(receipt.position, receipt.seq);
    daybook_slice filter = daybook_text("orders.*.placed");
    daybook_query query;
    daybook_recorded_event last;
    orders(&query);
    query.filters = &filter;
    query.filter_count = 1;
    query.recorded_since_ns = 0;
    query.seq_from = 1;
    assert_int_equal(read_all(at.core, &query, &last), 2);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = 1;
    daybook_engine_cursor *cursor = NULL;
    assert_int_equal(daybook_engine_read(at.core, &query, &cursor, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_engine_next(cursor, 0, &last, NULL), DAYBOOK_OK);
    assert_int_equal(last.seq, 2);
    assert_int_equal(last.position, 2);
    assert_int_equal(last.version, 0);
    daybook_engine_cursor_close(cursor);
}

// One case per capability: a query, or an append's conditions, that needs it.
static void asks_position(daybook_query *query) {
    query->stream = daybook_bytes(NULL, 0);
}
static void asks_place(daybook_query *query) {
    query->position_to = 1;
}
static void asks_type(daybook_query *query) {
    static daybook_slice type;
    type = daybook_text("placed");
    query->types = &type;
    query->type_count = 1;
}
static void asks_correlation(daybook_query *query) {
    query->correlation = daybook_text("c");
}
static void asks_id(daybook_query *query) {
    query->id = daybook_text("i");
}
static void asks_version(daybook_query *query) {
    query->version_to = 1;
}
static void asks_time(daybook_query *query) {
    query->time_until_ns = 1;
}
static void asks_known_until(daybook_query *query) {
    query->recorded_until_ns = 1;
}
static void asks_backwards(daybook_query *query) {
    query->flags = DAYBOOK_QUERY_REVERSE;
    query->limit = 2;
}

static void a_read_beyond_the_core_is_refused_by_name(void **context) {
    (void)context;
    static const struct {
        void (*ask)(daybook_query *query);
        const char *name;
    } cases[] = {
        {asks_position, "'position'"},   {asks_place, "'position'"},   {asks_type, "'events-match'"},
        {asks_correlation, "'tracing'"}, {asks_id, "'tracing'"},       {asks_version, "'version'"},
        {asks_time, "'time'"},           {asks_known_until, "'time'"}, {asks_backwards, "'reverse'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_query query;
        orders(&query);
        cases[i].ask(&query);
        daybook_engine_cursor *cursor = (daybook_engine_cursor *)(void *)&query;
        uint64_t count = 0;
        assert_int_equal(daybook_engine_read(at.core, &query, &cursor, &at.error), DAYBOOK_EUNSUPPORTED);
        assert_null(cursor);
        if (strstr(at.error.message, cases[i].name) == NULL) fail_msg("%s", at.error.message);
        assert_int_equal(daybook_engine_count(at.core, &query, &count, NULL), DAYBOOK_EUNSUPPORTED);
        assert_int_equal(daybook_engine_count(at.engine, &query, &count, &at.error), DAYBOOK_OK);
    }
}

static void an_append_beyond_the_core_is_refused_and_writes_nothing(void **context) {
    (void)context;
    daybook_condition conditions[2];
    daybook_query_item item;
    daybook_slice type = daybook_text("placed");
    daybook_query_item_init(&item);
    item.types = &type;
    item.type_count = 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = conditions;
    options.condition_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");

    daybook_condition_init(&conditions[0], DAYBOOK_EXPECT_VERSION);
    assert_int_equal(daybook_engine_append(at.core, &event, 1, &options, NULL, &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at.error.message, "'version'"));
    daybook_condition_init(&conditions[0], DAYBOOK_FAIL_IF_EVENTS_MATCH);
    conditions[0].items = &item;
    conditions[0].item_count = 1;
    assert_int_equal(daybook_engine_append(at.core, &event, 1, &options, NULL, &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at.error.message, "'events-match'"));
    daybook_condition_init(&conditions[0], DAYBOOK_EXPECT_STREAM_SEQ);
    daybook_condition_init(&conditions[1], DAYBOOK_EXPECT_SUBJECT_SEQ);
    options.condition_count = 2;
    assert_int_equal(daybook_engine_append(at.core, &event, 1, &options, NULL, &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at.error.message, "'conditions'"));
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_engine_stream_info(at.core, daybook_text("ORDERS"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->last_seq, 0);
    daybook_engine_stream_info_release(at.core, info);
    options.condition_count = 1;
    assert_int_equal(daybook_engine_append(at.core, &event, 1, &options, NULL, &at.error), DAYBOOK_OK);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    purge.erase = 1;
    assert_int_equal(daybook_engine_stream_purge(at.core, daybook_text("ORDERS"), &purge, NULL, &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at.error.message, "'erase'"));
}

// Consumers.

static daybook_engine_consumer *add_consumer(daybook_engine *engine, const char *name) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    daybook_engine_consumer *consumer = NULL;
    assert_int_equal(
        daybook_engine_consumer_add(engine, daybook_text("ORDERS"), &config, &consumer, &at.error),
        DAYBOOK_OK);
    assert_non_null(consumer);
    return consumer;
}

static uint64_t fetch_one(daybook_engine_consumer *consumer) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.timeout_ms = 0;
    daybook_batch *batch = NULL;
    daybook_status status = daybook_engine_consumer_fetch(consumer, &options, &batch, &at.error);
    if (status == DAYBOOK_TIMEOUT) return 0;
    assert_int_equal(status, DAYBOOK_OK);
    assert_int_equal(batch->count, 1);
    uint64_t seq = batch->messages[0].event.seq;
    daybook_engine_batch_release(consumer, batch);
    return seq;
}

static int count_consumer(void *context, const daybook_consumer_info *info) {
    assert_true(info->config.name.size > 0);
    ++*(int *)context;
    return 0;
}

static void a_consumer_works_through_the_engine(void **context) {
    (void)context;
    daybook_slice orders_stream = daybook_text("ORDERS"), name = daybook_text("mailer");
    for (int i = 0; i < 5; i++) append(at.engine, "orders.1.placed");
    daybook_engine_consumer *consumer = add_consumer(at.engine, "mailer");
    daybook_slice said = daybook_engine_consumer_name(consumer);
    assert_true(said.size == 6 && memcmp(said.data, "mailer", 6) == 0);
    assert_int_equal(fetch_one(consumer), 1);
    assert_int_equal(daybook_engine_consumer_ack(consumer, 1, DAYBOOK_ACK_CONFIRMED, &at.error), DAYBOOK_OK);
    assert_int_equal(fetch_one(consumer), 2);
    assert_int_equal(daybook_engine_consumer_nak(consumer, 2, 0, &at.error), DAYBOOK_OK);
    assert_int_equal(fetch_one(consumer), 2);
    assert_int_equal(daybook_engine_consumer_progress(consumer, 2, &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_engine_consumer_term(consumer, 2, daybook_text("no"), &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_engine_consumer_ack(consumer, 2, 0, &at.error), DAYBOOK_ENOTFOUND);
    // Answered in the commit of an append.
    assert_int_equal(fetch_one(consumer), 3);
    daybook_append_ack ack = {
        .size = sizeof ack, .consumer = daybook_engine_consumer_for_ack(consumer), .seq = 3};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.acks = &ack;
    options.ack_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.2.placed");
    assert_int_equal(daybook_engine_append(at.core, &event, 1, &options, NULL, &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at.error.message, "'append-and-ack'"));
    assert_int_equal(daybook_engine_append(at.engine, &event, 1, &options, NULL, &at.error), DAYBOOK_OK);
    daybook_consumer_info *info = NULL;
    assert_int_equal(daybook_engine_consumer_info(at.engine, orders_stream, name, &info, &at.error),
                     DAYBOOK_OK);
    assert_int_equal(info->ack_pending_count, 0);
    assert_int_equal(info->pending_count, 3);
    daybook_engine_consumer_info_release(at.engine, info);
    int count = 0;
    assert_int_equal(
        daybook_engine_consumer_list(at.engine, orders_stream, count_consumer, &count, &at.error),
        DAYBOOK_OK);
    assert_int_equal(count, 1);
    assert_int_equal(daybook_engine_consumer_pause(at.engine, orders_stream, name, INT64_MAX - 1, &at.error),
                     DAYBOOK_OK);
    assert_int_equal(fetch_one(consumer), 0);
    assert_int_equal(daybook_engine_consumer_pause(at.engine, orders_stream, name, 0, &at.error), DAYBOOK_OK);
    daybook_engine_consumer_close(consumer);
    assert_int_equal(daybook_engine_consumer_open(at.engine, orders_stream, name, &consumer, &at.error),
                     DAYBOOK_OK);
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = name;
    config.max_ack_pending = 7;
    assert_int_equal(daybook_engine_consumer_update(at.engine, orders_stream, &config, &at.error),
                     DAYBOOK_OK);
    assert_int_equal(fetch_one(consumer), 4);
    daybook_engine_consumer_interrupt(consumer);
    daybook_batch *batch = NULL;
    assert_int_equal(daybook_engine_consumer_fetch(consumer, NULL, &batch, &at.error), DAYBOOK_ECLOSED);
    assert_null(batch);
    daybook_engine_consumer_close(consumer);
    assert_int_equal(daybook_engine_consumer_remove(at.engine, orders_stream, name, &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_engine_consumer_open(at.engine, orders_stream, name, &consumer, &at.error),
                     DAYBOOK_ENOTFOUND);
    assert_null(consumer);
}

static void consumers_are_in_the_core_and_their_order_is_not(void **context) {
    (void)context;
    append(at.core, "orders.1.placed");
    daybook_engine_consumer *consumer = add_consumer(at.core, "mailer");
    assert_int_equal(fetch_one(consumer), 1);
    assert_int_equal(daybook_engine_consumer_ack(consumer, 1, 0, &at.error), DAYBOOK_OK);
    daybook_engine_consumer_close(consumer);
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("other");
    config.flags |= DAYBOOK_CONSUMER_IN_ORDER;
    assert_int_equal(
        daybook_engine_consumer_add(at.core, daybook_text("ORDERS"), &config, &consumer, &at.error),
        DAYBOOK_EUNSUPPORTED);
    assert_null(consumer);
    assert_non_null(strstr(at.error.message, "'in-order'"));
    int count = 0;
    assert_int_equal(
        daybook_engine_consumer_list(at.core, daybook_bytes(NULL, 0), count_consumer, &count, &at.error),
        DAYBOOK_EUNSUPPORTED);
}

static void a_capability_is_required_by_name(void **context) {
    (void)context;
    uint64_t both = DAYBOOK_ENGINE_POSITION | DAYBOOK_ENGINE_TRACING;
    assert_int_equal(daybook_engine_require(at.engine, both, "a trace", &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_engine_require(at.core, 0, "nothing", &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_engine_require(at.core, both, "a trace", &at.error), DAYBOOK_EUNSUPPORTED);
    assert_string_equal(
        at.error.message,
        "a trace needs 'position' (one order over all streams, and reads over several), which "
        "engine 'core' does not have");
    assert_int_equal(daybook_engine_require(at.engine, UINT64_C(1) << 60, "it", &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_int_equal(daybook_engine_require(NULL, 0, "it", &at.error), DAYBOOK_EMISUSE);
}

static int no_visit(void *context, const daybook_list_entry *entry) {
    (void)context;
    (void)entry;
    return 0;
}

static void misuse_is_said_and_changes_nothing(void **context) {
    (void)context;
    daybook_query query;
    orders(&query);
    daybook_engine_cursor *cursor = NULL;
    daybook_slice none = daybook_bytes(NULL, 0), name;
    uint64_t count;
    assert_int_equal(daybook_engine_read(NULL, &query, &cursor, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_read(at.engine, NULL, &cursor, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_read(at.engine, &query, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_next(NULL, 0, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_count(at.engine, &query, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_count(NULL, &query, &count, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_append(NULL, NULL, 0, NULL, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_list(at.engine, DAYBOOK_LIST_TYPES, none, none, NULL, NULL, &at.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_list(NULL, DAYBOOK_LIST_TYPES, none, none, no_visit, NULL, &at.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_list(at.core, DAYBOOK_LIST_AGGREGATES, daybook_text("ORDERS"), none,
                                         no_visit, NULL, &at.error),
                     DAYBOOK_EUNSUPPORTED);
    assert_int_equal(daybook_engine_stream_find(at.engine, none, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_stream_find(NULL, none, &name, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_stream_info(at.engine, none, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_stream_purge(NULL, none, NULL, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_stream_add(NULL, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_stream_update(NULL, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_stream_remove(NULL, none, &at.error), DAYBOOK_EMISUSE);
    daybook_engine_stream_info_release(NULL, NULL);
    daybook_engine_consumer *consumer;
    daybook_batch *batch;
    assert_int_equal(daybook_engine_consumer_add(at.engine, none, NULL, &consumer, &at.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_open(NULL, none, none, &consumer, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_open(at.engine, none, none, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_pause(NULL, none, none, 0, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_remove(NULL, none, none, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_info(at.engine, none, none, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_list(at.engine, none, NULL, NULL, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_fetch(NULL, NULL, &batch, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_ack(NULL, 1, 0, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_nak(NULL, 1, 0, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_progress(NULL, 1, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_term(NULL, 1, none, &at.error), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_engine_consumer_name(NULL).size, 0);
    daybook_engine_consumer_close(NULL);
    daybook_engine_consumer_interrupt(NULL);
    daybook_engine_batch_release(NULL, NULL);
    daybook_engine_consumer_info_release(NULL, NULL);
}

int main(void) {
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_store_is_one_engine_with_every_capability),
        CASE(an_engine_tells_which_store_it_is),
        CASE(an_interrupted_cursor_says_so),
        CASE(the_core_is_there_on_an_engine_without_capabilities),
        CASE(a_read_beyond_the_core_is_refused_by_name),
        CASE(an_append_beyond_the_core_is_refused_and_writes_nothing),
        CASE(a_consumer_works_through_the_engine),
        CASE(consumers_are_in_the_core_and_their_order_is_not),
        CASE(a_capability_is_required_by_name),
        CASE(misuse_is_said_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
