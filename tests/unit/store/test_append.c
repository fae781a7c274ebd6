// SPDX-License-Identifier: Apache-2.0
// Appending through the public API on a store in memory: numbers, batches, conditions, duplicates, limits,
// roll-up.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

static daybook_store *store;
static daybook_error failure;

static int open_store(void **state) {
    (void)state;
    daybook_error_init(&failure);
    daybook_status status = daybook_open(":memory:", NULL, &store, &failure);
    if (status != DAYBOOK_OK) fprintf(stderr, "%s\n", failure.message);
    return status == DAYBOOK_OK ? 0 : -1;
}

static int close_store(void **state) {
    (void)state;
    return daybook_close(store, NULL) == DAYBOOK_OK ? 0 : -1;
}

static daybook_event event_of(const char *subject, const char *data) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    return event;
}

static daybook_status append(const daybook_event *events, size_t count, const daybook_condition *conditions,
                             size_t condition_count, daybook_receipt *receipts) {
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    options.conditions = conditions;
    options.condition_count = condition_count;
    daybook_error_init(&failure);
    return daybook_append(store, events, count, &options, receipts, &failure);
}

static uint64_t append_one(const char *subject, const char *data) {
    daybook_event event = event_of(subject, data);
    daybook_receipt receipt;
    daybook_status status = append(&event, 1, NULL, 0, &receipt);
    if (status != DAYBOOK_OK) fprintf(stderr, "%s\n", failure.message);
    assert_int_equal(status, DAYBOOK_OK);
    return receipt.seq;
}

static uint64_t count_of(const char *filter) {
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice text = daybook_text(filter);
    query.filters = &text;
    query.filter_count = 1;
    uint64_t count = UINT64_MAX;
    assert_int_equal(daybook_count(store, &query, &count, NULL), DAYBOOK_OK);
    return count;
}

static void events_are_numbered_by_stream_store_and_aggregate(void **state) {
    (void)state;
    daybook_event events[] = {event_of("orders.1.placed", "{}"), event_of("orders.2.placed", "{}"),
                              event_of("carts.9.opened", "{}"), event_of("orders.1.paid", "{}")};
    daybook_receipt receipts[4];
    assert_int_equal(append(events, 4, NULL, 0, receipts), DAYBOOK_OK);
    const uint64_t seqs[] = {1, 2, 1, 3}, versions[] = {1, 1, 1, 2};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(receipts[i].position, i + 1);
        assert_int_equal(receipts[i].seq, seqs[i]);
        assert_int_equal(receipts[i].version, versions[i]);
        assert_int_equal(strlen(receipts[i].id), 36);
    }
    assert_true(receipts[0].flags & DAYBOOK_RECEIPT_STREAM_CREATED);
    assert_true(receipts[2].flags & DAYBOOK_RECEIPT_STREAM_CREATED);
    assert_false(receipts[3].flags & DAYBOOK_RECEIPT_STREAM_CREATED);
}

static void an_expected_version_lets_one_writer_win(void **state) {
    (void)state;
    append_one("orders.1.placed", "{}");
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
    condition.expected = 1;
    daybook_event event = event_of("orders.1.paid", "{}");
    daybook_receipt receipt;
    assert_int_equal(append(&event, 1, &condition, 1, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.version, 2);
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(failure.expected, 1);
    assert_int_equal(failure.actual, 2);
    assert_int_equal(count_of("orders.>"), 2);
}

static void add_stream(const char *name, const char *subject, void (*change)(daybook_stream_config *config)) {
    daybook_stream_config config;
    daybook_slice filter = daybook_text(subject);
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &filter;
    config.subject_count = 1;
    change(&config);
    daybook_status status = daybook_stream_add(store, &config, &failure);
    if (status != DAYBOOK_OK) fprintf(stderr, "%s\n", failure.message);
    assert_int_equal(status, DAYBOOK_OK);
}

static void default_settings(daybook_stream_config *config) {
    (void)config;
}

static daybook_status append_if_version(const char *subject, const char *stream, const char *aggregate,
                                        uint64_t expected) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
    condition.stream = daybook_text(stream);
    condition.aggregate = daybook_text(aggregate);
    condition.expected = expected;
    daybook_event event = event_of(subject, "{}");
    return append(&event, 1, &condition, 1, NULL);
}

// Of a stream that captures only some of its subjects, and of several that share it.
static void an_expected_version_may_be_of_an_aggregate_elsewhere(void **state) {
    (void)state;
    add_stream("B", "a.*.b", default_settings);
    add_stream("C", "a.*.c.>", default_settings);
    add_stream("D", "a.*.d", default_settings);
    append_one("a.1.b", "1");
    append_one("a.1.b", "2");
    append_one("a.1.c.x", "1");
    for (int flushed = 0; flushed <= 1; flushed++) {
        assert_int_equal(append_if_version("t.1.x", "", "a.1", 0), DAYBOOK_ECONFLICT);
        assert_int_equal(failure.actual, 2);
        assert_int_equal(append_if_version("t.1.x", "", "a.1", 2), DAYBOOK_OK);
        assert_int_equal(append_if_version("t.1.x", "", "a.2", 0), DAYBOOK_OK);
        assert_int_equal(append_if_version("t.1.x", "C", "a.1", 1), DAYBOOK_OK);
        assert_int_equal(append_if_version("t.1.x", "D", "a.1", 7), DAYBOOK_ECONFLICT);
        assert_int_equal(append_if_version("t.1.x", "E", "a.1", 0), DAYBOOK_ENOTFOUND);
        // Its own stream counts for the first event's aggregate, unless another is named.
        assert_int_equal(append_if_version("a.1.d", "", "a.1", flushed == 0 ? 0 : 1), DAYBOOK_OK);
        assert_int_equal(append_if_version("a.1.d", "B", "a.1", 2), DAYBOOK_OK);
        assert_int_equal(daybook_stream_remove(store, daybook_text("D"), &failure), DAYBOOK_OK);
        add_stream("D", "a.*.d", default_settings);
        append_one("a.1.d", "1");
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
}

static void conditions_see_the_state_before_the_call_only(void **state) {
    (void)state;
    daybook_condition conditions[2];
    daybook_condition_init(&conditions[0], DAYBOOK_EXPECT_VERSION);
    daybook_condition_init(&conditions[1], DAYBOOK_EXPECT_SUBJECT_SEQ);
    conditions[1].filter = daybook_text("orders.*.placed");
    daybook_event events[] = {event_of("orders.1.placed", "{}"), event_of("orders.1.placed", "{}")};
    assert_int_equal(append(events, 2, conditions, 2, NULL), DAYBOOK_OK);
    assert_int_equal(append(events, 2, &conditions[1], 1, NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(failure.actual, 2);
}

static void an_expected_subject_seq_counts_live_events_only(void **state) {
    (void)state;
    append_one("orders.1.placed", "{}");
    append_one("orders.1.paid", "{}");
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 2, 0, &failure), DAYBOOK_OK);
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.filter = daybook_text("orders.1.>");
    condition.expected = 1;
    daybook_event event = event_of("orders.1.shipped", "{}");
    daybook_receipt receipt;
    assert_int_equal(append(&event, 1, &condition, 1, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.seq, 3);
    assert_int_equal(receipt.version, 3); // versions are never used again
}

static void a_boundary_query_fails_on_a_match_behind_the_position(void **state) {
    (void)state;
    daybook_slice tags[] = {daybook_text("course:7"), daybook_text("student:1")};
    daybook_event event = event_of("courses.7.subscribed", "{}");
    event.tags = tags;
    event.tag_count = 2;
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_OK);
    daybook_slice type = daybook_text("subscribed");
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = &type;
    item.type_count = 1;
    item.tags = tags;
    item.tag_count = 1;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = &item;
    condition.item_count = 1;
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(failure.actual, 1);
    condition.after = 1;
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_OK);
    condition.after = 1000; // beyond the head is fine
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_OK);
    condition.after = UINT64_MAX;
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_OK);
    condition.item_count = 0;
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_EINVALID);
}

// A size of 0 would place all conditions, or all items, on the first: the others would silently not be
// checked.
static void conditions_that_were_not_initialised_are_refused(void **state) {
    (void)state;
    daybook_event event = event_of("courses.7.subscribed", "{}");
    daybook_slice type = daybook_text("subscribed");
    daybook_query_item items[2] = {{.types = &type, .type_count = 1}, {.types = &type, .type_count = 1}};
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = items;
    condition.item_count = 2;
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_EMISUSE);
    condition.items = NULL;
    condition.size = 0;
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_EMISUSE);
}

static void an_id_is_stored_once(void **state) {
    (void)state;
    daybook_event event = event_of("orders.1.placed", "{\"a\":1}");
    event.id = daybook_text("one");
    daybook_receipt receipt;
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_OK);
    assert_int_equal(append(&event, 1, NULL, 0, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(receipt.seq, 1);
    event.data = daybook_text("{\"a\":2}");
    assert_int_equal(append(&event, 1, NULL, 0, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.flags, DAYBOOK_RECEIPT_DUPLICATE | DAYBOOK_RECEIPT_DIFFERS);
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 1, 0, &failure), DAYBOOK_OK);
    assert_int_equal(append(&event, 1, NULL, 0, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.flags, DAYBOOK_RECEIPT_DUPLICATE | DAYBOOK_RECEIPT_DELETED);
    assert_int_equal(count_of("orders.>"), 0);
}

static void an_id_made_by_the_store_is_known_when_it_comes_back(void **state) {
    (void)state;
    daybook_event event = event_of("orders.1.placed", "{}");
    daybook_receipt first, second;
    assert_int_equal(append(&event, 1, NULL, 0, &first), DAYBOOK_OK);
    event.id = daybook_text(first.id);
    assert_int_equal(append(&event, 1, NULL, 0, &second), DAYBOOK_OK);
    assert_int_equal(second.flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(second.seq, 1);
    assert_int_equal(daybook_flush(store, &failure), DAYBOOK_OK);
    assert_int_equal(append(&event, 1, NULL, 0, &second), DAYBOOK_OK);
    assert_int_equal(second.flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(second.position, 1);
}

static void a_batch_that_mixes_stored_and_new_ids_is_refused(void **state) {
    (void)state;
    daybook_event events[] = {event_of("orders.1.placed", "{}"), event_of("orders.2.placed", "{}")};
    events[0].id = daybook_text("a");
    assert_int_equal(append(events, 1, NULL, 0, NULL), DAYBOOK_OK);
    events[1].id = daybook_text("b");
    assert_int_equal(append(events, 2, NULL, 0, NULL), DAYBOOK_EMIXED);
    assert_non_null(strstr(failure.message, "a"));
    events[1].id = daybook_text("a");
    assert_int_equal(append(events, 2, NULL, 0, NULL), DAYBOOK_EMIXED);
    assert_int_equal(count_of("orders.>"), 1);
}

static void a_batch_of_stored_ids_is_a_duplicate_as_a_whole(void **state) {
    (void)state;
    daybook_event events[] = {event_of("orders.1.placed", "{}"), event_of("orders.2.placed", "{}")};
    events[0].id = daybook_text("a");
    events[1].id = daybook_text("b");
    daybook_receipt receipts[2];
    assert_int_equal(append(events, 2, NULL, 0, NULL), DAYBOOK_OK);
    assert_int_equal(append(events, 2, NULL, 0, receipts), DAYBOOK_OK);
    assert_int_equal(receipts[1].flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(receipts[1].seq, 2);
}

static void keep_three(daybook_stream_config *config) {
    config->max_msgs = 3;
}
static void refuse_above_three(daybook_stream_config *config) {
    config->max_msgs = 3;
    config->discard = DAYBOOK_DISCARD_NEW;
}
static void keep_one_per_subject(daybook_stream_config *config) {
    config->max_msgs_per_subject = 1;
    config->flags = DAYBOOK_STREAM_ALLOW_ROLLUP;
    config->aggregate_tokens = 0;
}

static void a_stream_that_discards_old_keeps_the_newest(void **state) {
    (void)state;
    add_stream("T", "t.>", keep_three);
    for (int i = 0; i < 10; i++) append_one("t.1.x", "{}");
    assert_int_equal(count_of("t.>"), 3);
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("T"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, 3);
    assert_int_equal(info->first_seq, 8);
    assert_int_equal(info->last_seq, 10);
    daybook_stream_info_release(store, info);
}

static void a_stream_that_discards_new_refuses(void **state) {
    (void)state;
    add_stream("T", "t.>", refuse_above_three);
    daybook_event events[4] = {event_of("t.1.x", "{}"), event_of("t.1.x", "{}"), event_of("t.1.x", "{}"),
                               event_of("t.1.x", "{}")};
    assert_int_equal(append(events, 4, NULL, 0, NULL), DAYBOOK_ELIMIT);
    assert_int_equal(append(events, 3, NULL, 0, NULL), DAYBOOK_OK);
    assert_int_equal(append(events, 1, NULL, 0, NULL), DAYBOOK_ELIMIT);
    assert_int_equal(count_of("t.>"), 3);
}

static void refuse_above_bytes(daybook_stream_config *config) {
    config->max_bytes = 300;
    config->discard = DAYBOOK_DISCARD_NEW;
}
static void refuse_a_second_per_subject(daybook_stream_config *config) {
    config->max_msgs_per_subject = 1;
    config->discard = DAYBOOK_DISCARD_NEW;
    config->flags |= DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT;
}
static void refuse_large(daybook_stream_config *config) {
    config->max_msg_size = 10;
}

static void assert_limit(daybook_status status, daybook_limit limit, uint64_t allowed, uint64_t actual) {
    if (status != DAYBOOK_ELIMIT || failure.limit != (uint32_t)limit)
        fail_msg("limit %u, %s", (unsigned)failure.limit, failure.message);
    assert_int_equal(failure.expected, allowed);
    assert_int_equal(failure.actual, actual);
}

static void a_refusal_says_which_limit_it_was(void **state) {
    (void)state;
    daybook_event two[] = {event_of("t.1.x", "{}"), event_of("t.1.x", "{}")};
    add_stream("T", "t.>", refuse_above_three);
    assert_int_equal(append(two, 2, NULL, 0, NULL), DAYBOOK_OK);
    assert_limit(append(two, 2, NULL, 0, NULL), DAYBOOK_LIMIT_MAX_MSGS, 3, 4);
    assert_int_equal(failure.event, 1);
    add_stream("U", "u.>", refuse_above_bytes);
    char data[301] = "";
    memset(data, 'x', 300);
    two[0] = event_of("u.1.x", data);
    daybook_status status = append(two, 1, NULL, 0, NULL);
    assert_true(failure.actual > 300);
    assert_limit(status, DAYBOOK_LIMIT_MAX_BYTES, 300, failure.actual);
    add_stream("V", "v.>", refuse_a_second_per_subject);
    two[0] = event_of("v.1.x", "{}"), two[1] = event_of("v.1.x", "{}");
    assert_limit(append(two, 2, NULL, 0, NULL), DAYBOOK_LIMIT_MAX_MSGS_PER_SUBJECT, 1, 2);
    assert_int_equal(append(two, 1, NULL, 0, NULL), DAYBOOK_OK);
    assert_limit(append(two, 1, NULL, 0, NULL), DAYBOOK_LIMIT_MAX_MSGS_PER_SUBJECT, 1, 2);
    add_stream("W", "w.>", refuse_large);
    two[0] = event_of("w.1.x", "0123456789");
    assert_int_equal(append(two, 1, NULL, 0, NULL), DAYBOOK_OK);
    two[1] = event_of("w.1.x", "0123456789a");
    assert_limit(append(two, 2, NULL, 0, NULL), DAYBOOK_LIMIT_MAX_MSG_SIZE, 10, 11);
    assert_int_equal(failure.event, 1);
    // What is no limit names none.
    two[1] = event_of("w.*.x", "{}");
    assert_int_equal(append(two, 2, NULL, 0, NULL), DAYBOOK_ESUBJECT);
    assert_int_equal(failure.limit, DAYBOOK_LIMIT_OTHER);
}

static void note_limit(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                       const daybook_error *error) {
    (void)receipts, (void)count;
    failure = *error;
    atomic_store((atomic_int *)context, (int)status);
}

static void what_was_submitted_is_told_the_limit_too(void **state) {
    (void)state;
    add_stream("T", "t.>", refuse_above_three);
    for (int i = 0; i < 3; i++) append_one("t.1.x", "{}");
    daybook_event event = event_of("t.1.x", "{}");
    atomic_int told = 1;
    assert_int_equal(daybook_append_submit(store, &event, 1, NULL, note_limit, &told, NULL), DAYBOOK_OK);
    while (atomic_load(&told) == 1) {
    }
    assert_limit((daybook_status)atomic_load(&told), DAYBOOK_LIMIT_MAX_MSGS, 3, 4);
}

static void what_no_store_takes_is_said_by_limits_too(void **state) {
    (void)state;
    enum { PART = 4 << 20, PARTS = 5 };
    static char data[DAYBOOK_BATCH_SIZE_MAX + 1];
    static daybook_event many[DAYBOOK_BATCH_COUNT_MAX + 1];
    for (size_t i = 0; i <= DAYBOOK_BATCH_COUNT_MAX; i++) many[i] = event_of("t.1.x", "{}");
    assert_limit(append(many, DAYBOOK_BATCH_COUNT_MAX + 1, NULL, 0, NULL), DAYBOOK_LIMIT_BATCH_COUNT,
                 DAYBOOK_BATCH_COUNT_MAX, DAYBOOK_BATCH_COUNT_MAX + 1);
    many[0].data = daybook_bytes(data, sizeof data);
    assert_limit(append(many, 1, NULL, 0, NULL), DAYBOOK_LIMIT_EVENT_SIZE, DAYBOOK_BATCH_SIZE_MAX,
                 sizeof data);
    many[0].data.size = DAYBOOK_BATCH_SIZE_MAX; // with its subject it is too large all the same
    daybook_status status = append(many, 1, NULL, 0, NULL);
    assert_true(failure.actual > DAYBOOK_BATCH_SIZE_MAX);
    assert_limit(status, DAYBOOK_LIMIT_EVENT_SIZE, DAYBOOK_BATCH_SIZE_MAX, failure.actual);
    for (size_t i = 0; i < PARTS; i++) many[i].data = daybook_bytes(data, PART);
    status = append(many, PARTS, NULL, 0, NULL);
    assert_true(failure.actual > DAYBOOK_BATCH_SIZE_MAX);
    assert_limit(status, DAYBOOK_LIMIT_BATCH_SIZE, DAYBOOK_BATCH_SIZE_MAX, failure.actual);
    // A journal that is never large enough.
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim *sim = NULL;
    assert_int_equal(dbk_sim_new(1, &sim), DAYBOOK_OK);
    daybook_open_options opening;
    daybook_open_options_init(&opening);
    opening.vfs = dbk_sim_vfs(sim);
    opening.journal_max_bytes = 4 << 20;
    assert_int_equal(daybook_open("/s", &opening, &store, &failure), DAYBOOK_OK);
    status = append(many, 1, NULL, 0, NULL);
    assert_true(failure.actual > PART);
    assert_limit(status, DAYBOOK_LIMIT_JOURNAL_SIZE, 2 << 20, failure.actual);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
    assert_int_equal(open_store(NULL), 0);
}

static void a_limit_per_subject_keeps_the_newest_of_each(void **state) {
    (void)state;
    add_stream("T", "t.>", keep_one_per_subject);
    for (int i = 0; i < 5; i++) {
        append_one("t.a", "1");
        append_one("t.b", "2");
        if (i == 2) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    assert_int_equal(count_of("t.>"), 2);
    assert_int_equal(count_of("t.a"), 1);
}

static void a_roll_up_removes_what_is_older_of_the_subject(void **state) {
    (void)state;
    add_stream("T", "t.>", keep_one_per_subject);
    append_one("t.a", "1");
    append_one("t.b", "1");
    daybook_header header = {daybook_text("Nats-Rollup"), daybook_text("sub")};
    daybook_event event = event_of("t.a", "2");
    event.headers = &header;
    event.header_count = 1;
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_OK);
    assert_int_equal(count_of("t.>"), 2);
    header.value = daybook_text("all");
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_OK);
    assert_int_equal(count_of("t.>"), 1);
}

static void a_stream_made_anew_does_not_meet_its_predecessor(void **state) {
    (void)state;
    append_one("orders.1.placed", "{}");
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    append_one("orders.1.paid", "{}");
    assert_int_equal(daybook_stream_remove(store, daybook_text("ORDERS"), &failure), DAYBOOK_OK);
    assert_int_equal(count_of(">"), 0);
    assert_int_equal(append_one("orders.1.placed", "{}"), 1);
    assert_int_equal(count_of(">"), 1);
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
    condition.expected = 1;
    daybook_event event = event_of("orders.1.paid", "{}");
    assert_int_equal(append(&event, 1, &condition, 1, NULL), DAYBOOK_OK);
}

static void a_subject_nobody_captures_is_refused(void **state) {
    (void)state;
    daybook_event event = event_of("orders.1.placed", "{}");
    assert_int_equal(daybook_append(store, &event, 1, NULL, NULL, &failure), DAYBOOK_ENOSTREAM);
    event = event_of("orders.*.placed", "{}");
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_ESUBJECT);
}

typedef struct submitted {
    volatile int done;
    daybook_status last;
    uint64_t last_position;
} submitted;

static void note_done(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                      const daybook_error *error) {
    (void)error;
    submitted *noted = context;
    noted->last = status;
    assert_true(receipts[count - 1].position > noted->last_position);
    noted->last_position = receipts[count - 1].position;
    __atomic_fetch_add(&noted->done, 1, __ATOMIC_RELEASE);
}

static void submitted_appends_complete_in_order(void **state) {
    (void)state;
    submitted noted = {0};
    append_one("orders.1.placed", "{}");
    for (int i = 0; i < 1000; i++) {
        daybook_event event = event_of("orders.1.changed", "{}");
        assert_int_equal(daybook_append_submit(store, &event, 1, NULL, note_done, &noted, &failure),
                         DAYBOOK_OK);
    }
    // A blocking append behind them is durable behind them.
    append_one("orders.1.closed", "{}");
    while (__atomic_load_n(&noted.done, __ATOMIC_ACQUIRE) < 1000) {
    }
    assert_int_equal(noted.last, DAYBOOK_OK);
    assert_int_equal(count_of("orders.1.>"), 1002);
}

// Nobody else leads: the caller does, and what it submitted is on disk and told when it comes back.
static void a_bundle_that_may_wait_is_told_before_it_returns(void **state) {
    (void)state;
    submitted noted = {0};
    daybook_append_bundle bundle = {0};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.bundle = &bundle;
    append_one("orders.1.placed", "{}");
    daybook_store_info before = {.size = sizeof before}, after = {.size = sizeof after};
    assert_int_equal(daybook_info(store, &before, NULL), DAYBOOK_OK);
    for (int i = 0; i < 100; i++) {
        daybook_event event = event_of("orders.1.changed", "{}");
        assert_int_equal(daybook_append_submit(store, &event, 1, &options, note_done, &noted, &failure),
                         DAYBOOK_OK);
    }
    assert_int_equal(bundle.count, 100);
    assert_int_equal(noted.done, 0); // nothing was queued
    assert_int_equal(count_of("orders.1.>"), 1);
    daybook_append_bundle_submit(store, &bundle, true);
    assert_int_equal(bundle.count, 0);
    assert_int_equal(noted.done, 100);
    assert_int_equal(noted.last, DAYBOOK_OK);
    assert_int_equal(count_of("orders.1.>"), 101);
    assert_int_equal(daybook_info(store, &after, NULL), DAYBOOK_OK);
    assert_int_equal(after.group_count - before.group_count, 1); // one sync
    daybook_append_bundle_submit(store, &bundle, true);          // nothing in it
    assert_int_equal(noted.done, 100);
}

typedef struct outcome {
    atomic_int *done_count;
    daybook_status status;
} outcome;

static void note_outcome(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                         const daybook_error *error) {
    (void)receipts, (void)count, (void)error;
    outcome *noted = context;
    noted->status = status;
    atomic_fetch_add(noted->done_count, 1);
}

static void nothing_of_a_chain_is_stored_behind_a_refusal(void **state) {
    (void)state;
    enum { CHAINED = 600, REFUSED = 250 };
    append_one("orders.1.placed", "{}");
    atomic_int done_count = 0;
    static outcome outcomes[CHAINED + 1];
    daybook_append_chain chain = {0};
    for (int i = 0; i <= CHAINED; i++) {
        daybook_event event = event_of(i < CHAINED ? "orders.1.changed" : "orders.2.changed", "{}");
        daybook_condition condition;
        daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
        condition.expected = i == REFUSED ? 7000 : (uint64_t)i + 1;
        daybook_append_options options;
        daybook_append_options_init(&options);
        if (i < CHAINED) {
            options.conditions = &condition;
            options.condition_count = i <= REFUSED;
            options.chain = &chain;
        }
        outcomes[i] = (outcome){.done_count = &done_count};
        assert_int_equal(
            daybook_append_submit(store, &event, 1, &options, note_outcome, &outcomes[i], &failure),
            DAYBOOK_OK);
    }
    while (atomic_load(&done_count) <= CHAINED) {
    }
    for (int i = 0; i < CHAINED; i++) {
        daybook_status expected = i < REFUSED    ? DAYBOOK_OK
                                  : i == REFUSED ? DAYBOOK_ECONFLICT
                                                 : DAYBOOK_ESKIPPED;
        assert_int_equal(outcomes[i].status, expected);
    }
    assert_int_equal(outcomes[CHAINED].status, DAYBOOK_OK); // who is in no chain goes on
    assert_true(chain.is_broken);
    assert_int_equal(count_of("orders.1.>"), 1 + REFUSED);
    assert_int_equal(count_of("orders.2.>"), 1);
}

// Whether it is stored is uncertain, so nothing may come behind it.
static void a_chain_ends_where_a_write_fails(void **state) {
    (void)state;
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim *sim = NULL;
    assert_int_equal(dbk_sim_new(1, &sim), DAYBOOK_OK);
    daybook_open_options opening;
    daybook_open_options_init(&opening);
    opening.vfs = dbk_sim_vfs(sim);
    opening.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &opening, &store, &failure), DAYBOOK_OK);
    append_one("orders.1.placed", "{}");
    dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    atomic_int done_count = 0;
    daybook_append_chain chain = {0};
    outcome noted = {.done_count = &done_count};
    daybook_event event = event_of("orders.1.changed", "{}");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.chain = &chain;
    assert_int_equal(daybook_append_submit(store, &event, 1, &options, note_outcome, &noted, &failure),
                     DAYBOOK_OK);
    while (atomic_load(&done_count) == 0) {
    }
    assert_int_equal(noted.status, DAYBOOK_EUNCERTAIN);
    assert_true(chain.is_broken);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_free(sim);
    assert_int_equal(open_store(NULL), 0);
}

// Without background work nobody writes the journal out but who is asked to: the answer says whom to ask.
static void a_full_journal_without_background_work_names_the_call_that_empties_it(void **state) {
    (void)state;
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 4 << 20;
    options.memtable_bytes = 64 << 20;
    assert_int_equal(daybook_open(":memory:", &options, &store, NULL), DAYBOOK_OK);
    static char text[200 << 10];
    memset(text, 'd', sizeof text - 1);
    daybook_event event = event_of("large.1.came", text);
    daybook_status status = DAYBOOK_OK;
    uint64_t accepted = 0;
    for (; status == DAYBOOK_OK && accepted < 100; accepted++) status = append(&event, 1, NULL, 0, NULL);
    accepted--;
    assert_int_equal(status, DAYBOOK_ENOSPC);
    assert_true(accepted > 10 && accepted < 21);
    assert_non_null(strstr(failure.message, "nothing was written"));
    assert_non_null(strstr(failure.message, "daybook_maintain"));
    assert_int_equal(count_of("large.>"), accepted);
    status = daybook_maintain(store, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_END);
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_OK);
    assert_int_equal(count_of("large.>"), accepted + 1);
    // What never fits is another matter.
    static char large[3 << 20];
    memset(large, 'd', sizeof large - 1);
    event.data = daybook_text(large);
    assert_int_equal(append(&event, 1, NULL, 0, NULL), DAYBOOK_ELIMIT);
    assert_non_null(strstr(failure.message, "journal_max_bytes"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)
    const struct CMUnitTest tests[] = {
        CASE(events_are_numbered_by_stream_store_and_aggregate),
        CASE(an_expected_version_lets_one_writer_win),
        CASE(an_expected_version_may_be_of_an_aggregate_elsewhere),
        CASE(conditions_see_the_state_before_the_call_only),
        CASE(an_expected_subject_seq_counts_live_events_only),
        CASE(a_boundary_query_fails_on_a_match_behind_the_position),
        CASE(conditions_that_were_not_initialised_are_refused),
        CASE(an_id_is_stored_once),
        CASE(an_id_made_by_the_store_is_known_when_it_comes_back),
        CASE(a_batch_that_mixes_stored_and_new_ids_is_refused),
        CASE(a_batch_of_stored_ids_is_a_duplicate_as_a_whole),
        CASE(a_stream_that_discards_old_keeps_the_newest),
        CASE(a_stream_that_discards_new_refuses),
        CASE(a_refusal_says_which_limit_it_was),
        CASE(what_was_submitted_is_told_the_limit_too),
        CASE(what_no_store_takes_is_said_by_limits_too),
        CASE(a_limit_per_subject_keeps_the_newest_of_each),
        CASE(a_roll_up_removes_what_is_older_of_the_subject),
        CASE(a_stream_made_anew_does_not_meet_its_predecessor),
        CASE(a_subject_nobody_captures_is_refused),
        CASE(submitted_appends_complete_in_order),
        CASE(a_bundle_that_may_wait_is_told_before_it_returns),
        CASE(nothing_of_a_chain_is_stored_behind_a_refusal),
        CASE(a_chain_ends_where_a_write_fails),
        CASE(a_full_journal_without_background_work_names_the_call_that_empties_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
